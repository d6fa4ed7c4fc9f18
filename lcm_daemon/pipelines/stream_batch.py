"""StreamBatch: all denoising steps in one pass of the model, each at another frame's picture.

Kodaira et al., "StreamDiffusion" (arXiv:2312.12491), section 3.1. With n steps the model is run once a frame on a batch
of n: the new frame at its first step, the one before at its second, and so on to the one that is finished now. A GPU
takes a batch in less time than as many passes; the price is latency: what comes out is the frame that went in n - 1
frames ago.
"""

from __future__ import annotations

import torch

from lcm_daemon.pipelines.sampler import Model


class StreamBatch:
    """The frames under way. With one step it does what `sampler.run` does.

    steps: as many as the batch has samples; another number is another batch, and another captured graph.
    shape: (channels, height, width) of the latents.

    finished: float32 (1, channels, height, width), what `push` has done last, the same memory for good.

    Each frame brings its plan with it, so that a strength that moves reaches every frame as a whole, as it does when
    one frame is denoised after another. Noise and prompts are those of the moment.
    """

    def __init__(self, steps: int, shape: tuple[int, int, int], device: torch.device) -> None:
        self.steps = steps
        self._samples = torch.zeros(steps, *shape, device=device)
        self.finished = torch.zeros(1, *shape, device=device)
        self._aside = torch.zeros_like(self._samples)
        # [i, j]: step j of the frame that came in i frames ago, as in `Plan.tensor`
        self._plans = torch.zeros(steps, steps, 4, device=device)
        self._plans_aside = torch.zeros_like(self._plans)
        self._due = torch.zeros(4, steps, device=device)  # timestep, sample, output, noise of each sample's next step
        self._fresh = True

    @property
    def latency(self) -> int:
        """Frames between a picture's going in and its coming out."""
        return self.steps - 1

    def forget(self) -> None:
        """The frames under way are of no use any more: another recipe's, or from before a long pause."""
        self._fresh = True

    def passes(self) -> int:
        """How often to `push` this frame: once; all its steps if there is nothing under way, so that it is shown."""
        passes, self._fresh = (self.steps if self._fresh else 1), False
        return passes

    def push(self, predict: Model, latents: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor,
             text: bool = False) -> None:
        """One step of every frame under way; `latents` goes in, and the oldest comes out into `finished`.

        Reads and writes device tensors alone, so it may be captured as a graph.
        predict: called once, with (steps, channels, height, width) float32, timesteps (steps,) and step 0.
        latents: float32 (1, channels, height, width).   factors: `Plan.tensor` on the device, of a plan with `steps`.
        noise: `Noise.values`.   text: start from noise alone, whatever `latents` holds.
        """
        self._enter(latents, factors, noise, text)
        timesteps, sample, output, fresh = self._due.unbind()
        predicted = predict(self._samples, timesteps, 0)
        self._samples.mul_(_each(sample)).addcmul_(predicted, _each(output))
        self._samples[:-1].addcmul_(noise[1:self.steps], _each(fresh[:-1]))  # no kind adds noise after the last step
        self.finished.copy_(self._samples[-1:])

    def _enter(self, latents: torch.Tensor, factors: torch.Tensor, noise: torch.Tensor, text: bool) -> None:
        """Everyone moves up by one; the newcomer is noised as its plan says."""
        self._samples[1:] = self._aside.copy_(self._samples)[:-1]
        self._plans[1:] = self._plans_aside.copy_(self._plans)[:-1]
        self._plans[0] = factors[1:1 + self.steps]
        self._due.copy_(torch.diagonal(self._plans, dim1=0, dim2=1))
        start = factors[0]
        torch.mul(noise[:1], start[3], out=self._samples[:1])
        if not text:
            self._samples[:1].addcmul_(latents, start[1])


def _each(factor: torch.Tensor) -> torch.Tensor:
    """One number a sample, to multiply (n, channels, height, width) with."""
    return factor[:, None, None, None]
