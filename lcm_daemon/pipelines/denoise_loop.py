"""Denoising: from latents or noise to clean latents, the UNet and its ControlNets a few times over."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcm_daemon.pipelines.conditioning import Steering
from lcm_daemon.pipelines.controlnet import Guides
from lcm_daemon.pipelines.noise import MAX_STEPS
from lcm_daemon.pipelines.sampler import Model, run
from lcm_daemon.pipelines.stream_batch import StreamBatch


class Denoising:
    """The denoising of one pipeline: one frame after another, or with `stream` all steps in one pass.

    denoiser: called as `Denoiser`.   shape: (channels, height, width) of the latents.   dtype: the UNet's.

    latents: float32 (1, channels, height, width), where a picture is put to be repainted. The result may lie there too.
    """

    def __init__(self, denoiser: Callable[..., Tensor], guides: Guides, shape: tuple[int, int, int],
                 device: torch.device, dtype: torch.dtype, stream: bool) -> None:
        self.latents = torch.zeros(1, *shape, device=device)
        self._denoiser, self._guides, self._shape = denoiser, guides, shape
        self._stream = StreamBatch(1, shape, device) if stream else None
        # Twice the pictures, since classifier-free guidance shows the UNet both prompts at once.
        self._input = torch.zeros(2 * (MAX_STEPS if stream else 1), *shape, device=device, dtype=dtype).contiguous(
            memory_format=torch.channels_last)

    def run(self, told: Steering, steps: int, factors: Tensor, noise: Tensor, text: bool, guided: bool) -> Tensor:
        """Clean latents, float32 (1, channels, height, width), good until the next call.

        factors: `Plan.tensor` on the device.   noise: `Noise.values`.   text: from noise alone.
        guided: the ControlNets have their say.
        """
        predict = self._model(told, steps, guided)
        if self._stream is None:
            run(predict, steps, self.latents, factors, noise, text)
            return self.latents
        if self._stream.steps != steps:
            self._stream = StreamBatch(steps, self._shape, factors.device)
        for _ in range(self._stream.passes()):
            self._stream.push(predict, self.latents, factors, noise, text)
        return self._stream.finished

    def forget(self) -> None:
        """The frames under way are of no use any more."""
        if self._stream is not None:
            self._stream.forget()

    def _model(self, told: Steering, steps: int, guided: bool) -> Model:
        def predict(sample: Tensor, timestep: Tensor, step: int) -> Tensor:
            batch, count = len(sample), told.count
            pictures = self._input[:count * batch]
            pictures.view(count, *sample.shape).copy_(sample.expand(count, *sample.shape))
            timesteps = timestep if batch == 1 else timestep.repeat(count)
            states = told.states.repeat_interleave(batch, dim=0) if batch > 1 else told.states
            pooled, ids, image = (_repeat(one, batch) for one in (told.pooled, told.ids, told.image))
            residuals = self._guides.residuals(step, steps, pictures, timesteps, states, pooled, ids) if guided else ()
            output = self._denoiser(pictures, timesteps, states, told.scale, pooled, ids, image, *residuals)
            if told.guidance is None:
                return output
            without, with_prompt = output.float().chunk(2)
            return torch.lerp(without, with_prompt, told.guidance)

        return predict


def _repeat(tensor: Tensor | None, batch: int) -> Tensor | None:
    """Each row `batch` times, for as many pictures under the same prompt."""
    return tensor if tensor is None or batch == 1 else tensor.repeat_interleave(batch, dim=0)
