"""DenoiseLoop: from latents or noise to clean latents, by several passes of the UNet and its ControlNets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lcm_daemon.pipelines.conditioning import Conditioning
from lcm_daemon.pipelines.controlnet import ControlNets, ControlPlan
from lcm_daemon.pipelines.inpainting import Inpainting
from lcm_daemon.pipelines.noise import MAX_STEPS
from lcm_daemon.pipelines.sampler import Model, denoise
from lcm_daemon.pipelines.stream_batch import StreamBatch


class DenoiseLoop:
    """The denoising of one pipeline: one frame after the other, or with `stream` all steps in one pass.

    Args:
        unet: The denoiser, called like a `Denoiser`.
        inputs: `Denoiser.inputs` of it.
        controlnets: Those of the recipe.
        shape: (channels, height, width) of the latents.
        device: Where everything is computed.
        dtype: The denoiser's.
        stream: Use a stream batch.

    Attributes:
        latents: float32 (1, channels, height, width). Write the encoded input here. The result may be here too.
    """

    def __init__(self, unet: Callable[..., Tensor], inputs: Sequence[str], controlnets: ControlNets,
                 shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype, stream: bool) -> None:
        self.latents = torch.zeros(1, *shape, device=device)
        self._unet, self._inputs, self._controlnets, self._shape = unet, inputs, controlnets, shape
        self._reference = torch.zeros(1, *shape, device=device, dtype=dtype) if "reference" in inputs else None
        self._is_stream = stream
        self._streams: dict[int, StreamBatch] = {}  # by the number of steps; recordings read their memory
        self._stream: StreamBatch | None = None  # the one in use
        # Twice the samples, because classifier-free guidance runs the UNet with both prompts at once.
        self._input = torch.zeros(2 * (MAX_STEPS if stream else 1), *shape, device=device, dtype=dtype).contiguous(
            memory_format=torch.channels_last)

    def prepare(self, steps: int) -> int:
        """Call once a frame, on the host. Returns the number of passes: 1, more for the first frame of a stream batch.

        The number of passes decides what `denoise` launches.
        """
        if not self._is_stream:
            return 1
        if steps not in self._streams:
            self._streams[steps] = StreamBatch(steps, self._shape, self.latents.device)
        if self._stream is not self._streams[steps]:
            self._stream = self._streams[steps]
            self._stream.clear()
        return self._stream.passes()

    def denoise(self, conditioning: Conditioning, steps: int, factors: Tensor, noise: Tensor, text: bool,
                controls: ControlPlan, passes: int = 1, inpainting: Inpainting | None = None) -> Tensor:
        """Denoise one frame. Reads and writes only device tensors, so it may be part of a recorded frame.

        Args:
            conditioning: What the UNet is given beside the latents.
            steps: Number of steps.
            factors: `StepPlan.tensor` on the device.
            noise: `Noise.values`.
            text: Start from noise only.
            controls: What the ControlNets do in this frame.
            passes: What `prepare` returned.
            inpainting: What is kept of the input, if anything is. Not with a stream batch.

        Returns:
            Clean latents, float32 (1, channels, height, width), valid until the next call.
        """
        if self._reference is not None and not text:
            conditioning = replace(conditioning, reference=self._reference.copy_(self.latents))
        predict = self._model(conditioning, controls)
        if self._stream is None:
            after = None if inpainting is None else functools.partial(inpainting.restore, noise=noise[:1])
            denoise(predict, steps, self.latents, factors, noise, text, after)
            return self.latents
        for _ in range(passes):
            self._stream.step(predict, self.latents, factors, noise, text)
        return self._stream.finished

    def save(self) -> tuple[int, Any] | None:
        """As of `Remembering`: the stream batch's number of steps, and its frames."""
        saved = None if self._stream is None else self._stream.save()
        return None if self._stream is None or saved is None else (self._stream.steps, saved)

    def restore(self, saved: tuple[int, Any] | None) -> None:
        """As of `Remembering`."""
        if saved is not None:
            self._stream = self._streams[saved[0]]
        if self._stream is not None:
            self._stream.restore(None if saved is None else saved[1])

    def _model(self, conditioning: Conditioning, controls: ControlPlan) -> Model:
        def predict(sample: Tensor, timestep: Tensor, step: int) -> Tensor:
            batch, count = len(sample), conditioning.count
            samples = self._input[:count * batch]
            samples.view(count, *sample.shape).copy_(sample.expand(count, *sample.shape))
            timesteps = timestep if batch == 1 else timestep.repeat(count)
            states = conditioning.states.repeat_interleave(batch, dim=0) if batch > 1 else conditioning.states
            scale = None if conditioning.scale is None else conditioning.scale.to(samples.dtype)
            inputs = {name: _repeat(getattr(conditioning, name), batch) for name in self._inputs}
            residuals = self._controlnets.residuals(
                controls, step, samples, timesteps, states, inputs.get("pooled"), inputs.get("ids"))
            output = self._unet(samples, timesteps, states, scale, *inputs.values(), *residuals)
            if conditioning.guidance is None:
                return output
            without, with_prompt = output.float().chunk(2)
            return torch.lerp(without, with_prompt, conditioning.guidance)

        return predict


def _repeat(tensor: Tensor | None, batch: int) -> Tensor | None:
    """Repeat each row `batch` times, for several samples under the same prompt."""
    return tensor if tensor is None or batch == 1 else tensor.repeat_interleave(batch, dim=0)
