"""StreamBatch: all denoising steps in one pass of the model, each on the latents of another frame.

Kodaira et al., "StreamDiffusion" (arXiv:2312.12491), section 3.1. With n steps the model runs once a frame on a batch
of n: the new frame at its first step, the frame before it at its second, and so on up to the frame that is finished
now. A GPU computes a batch in less time than n single passes. The price is latency: the output is the frame that went
in n - 1 frames ago.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lcm_daemon.pipelines.sampler import Model
from lcm_daemon.pipelines.session_memory import copies, write_back


class StreamBatch:
    """The frames that are being denoised. With one step it does the same as `sampler.denoise`.

    Each frame keeps its own step plan, so that a moving strength acts on every frame as a whole, as it does when frames
    are denoised one after the other. Noise and prompts are those of the moment.

    Args:
        steps: Number of samples in the batch. Another number needs another batch, and another captured graph.
        shape: (channels, height, width) of the latents.

    Attributes:
        finished: float32 (1, channels, height, width), the last result of `step`, always at the same address.
    """

    def __init__(self, steps: int, shape: tuple[int, int, int], device: torch.device) -> None:
        self.steps = steps
        self._samples = torch.zeros(steps, *shape, device=device)
        self.finished = torch.zeros(1, *shape, device=device)
        self._samples_copy = torch.zeros_like(self._samples)
        # [i, j]: step j of the frame that came in i frames ago, as in `StepPlan.tensor`
        self._plans = torch.zeros(steps, steps, 4, device=device)
        self._plans_copy = torch.zeros_like(self._plans)
        self._due = torch.zeros(4, steps, device=device)  # timestep, sample, output, noise of each sample's next step
        self._is_empty = True

    @property
    def latency(self) -> int:
        """Frames between input and output of the same frame."""
        return self.steps - 1

    def clear(self) -> None:
        """Discard the frames in the batch, such as those of another recipe or from before a long pause."""
        self._is_empty = True

    def save(self) -> Sequence[torch.Tensor] | None:
        """As of `Remembering`."""
        return None if self._is_empty else copies((self._samples, self._plans))

    def restore(self, saved: Sequence[torch.Tensor] | None) -> None:
        """As of `Remembering`."""
        self._is_empty = saved is None
        if saved is not None:
            write_back((self._samples, self._plans), saved)

    def passes(self) -> int:
        """Number of calls of `step` for this frame: one; all steps if the batch is empty, so that a frame comes out."""
        passes = self.steps if self._is_empty else 1
        self._is_empty = False
        return passes

    def step(self, predict: Model, latents: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor,
             text: bool = False) -> None:
        """Do one step of every frame in the batch. `latents` enter, and the oldest frame leaves into `finished`.

        Reads and writes only device tensors, so it may be captured as a graph.

        Args:
            predict: Called once, with (steps, channels, height, width) float32, timesteps (steps,) and step 0.
            latents: float32 (1, channels, height, width).
            factors: `StepPlan.tensor` on the device, of a plan with `steps`.
            noise: `Noise.values`.
            text: Start from noise only and ignore the content of `latents`.
        """
        self._enter(latents, factors, noise, text)
        timesteps, sample, output, fresh = self._due.unbind()
        predicted = predict(self._samples, timesteps, 0)
        self._samples.mul_(_per_sample(sample)).addcmul_(predicted, _per_sample(output))
        self._samples[:-1].addcmul_(noise[1:self.steps], _per_sample(fresh[:-1]))  # no noise after the last step
        self.finished.copy_(self._samples[-1:])

    def _enter(self, latents: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor, text: bool) -> None:
        """Move all samples one place up and add noise to the new one by its plan."""
        self._samples[1:] = self._samples_copy.copy_(self._samples)[:-1]
        self._plans[1:] = self._plans_copy.copy_(self._plans)[:-1]
        self._plans[0] = factors[1:1 + self.steps]
        self._due.copy_(torch.diagonal(self._plans, dim1=0, dim2=1))
        start = factors[0]
        torch.mul(noise[:1], start[3], out=self._samples[:1])
        if not text:
            self._samples[:1].addcmul_(latents, start[1])


def _per_sample(factor: torch.Tensor) -> torch.Tensor:
    """One number a sample, in a shape that multiplies (n, channels, height, width)."""
    return factor[:, None, None, None]
