"""Inpainting: only what the guide shows white is repainted; where it is black the input stays.

After each step the latents outside of the mask are set to the input's, with the noise of the level that the step ends
at. So what is painted inside continues what is around it. This is RePaint without its repetitions (Lugmayr et al.,
arXiv:2201.09865, eq. 8), and what diffusers' inpainting pipelines do with a UNet that was not trained for it. Outside,
the finished image is the input itself, not what the VAE makes of it. A grey of the guide mixes both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.noise import MAX_STEPS
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.sampler import StepPlan


class Inpainting:
    """What a frame keeps of its input. All numbers of it are on the device, so that it may be recorded.

    Args:
        shape: (channels, height, width) of the latents.
        numbers: Where the amount and the levels of noise are written to.
    """

    def __init__(self, shape: tuple[int, int, int], numbers: Numbers) -> None:
        self._shape = shape
        self._amount = numbers.reserve(1)
        self._levels = numbers.reserve(MAX_STEPS * 2)
        # The memory is made with the first frame that needs it, and kept: recordings read it.
        self._image = self._mask = self._latents = self._latent_mask = torch.empty(0)

    def prepare(self, values: FrameValues, plan: StepPlan, has_guide: bool) -> bool:
        """Decide whether a frame keeps something of its input, and write its numbers. Nothing runs at the amount 0."""
        if values.inpaint <= 0.0 or values.mode != "image" or not has_guide:
            return False
        self._amount.write((values.inpaint,))
        self._levels.write(plan.levels.ravel())
        return True

    def take(self, image: Tensor, guide: Tensor) -> None:
        """Take the input and the mask, both (1, 3, h, w) from -1 to 1. Call before anything is mixed into the input."""
        white = guide.float().mean(1, keepdim=True).mul_(0.5).add_(0.5).clamp_(0.0, 1.0)
        mask = 1.0 - self._amount.tensor * (1.0 - white)
        if self._image.shape != image.shape:
            self._image, self._mask = torch.empty_like(image), torch.empty_like(mask)
            self._latents = torch.empty(1, *self._shape, device=image.device)
            self._latent_mask = torch.empty(1, 1, *self._shape[1:], device=image.device)
        self._image.copy_(image)
        self._mask.copy_(mask)
        self._latent_mask.copy_(functional.adaptive_avg_pool2d(mask, self._shape[1:]))

    def keep(self, latents: Tensor) -> None:
        """Take the encoded input."""
        self._latents.copy_(latents)

    def restore(self, sample: Tensor, step: int, noise: Tensor) -> None:
        """Set the sample outside of the mask to the input's latents, in place.

        Args:
            sample: float32 (1, channels, height, width), after a step.
            step: Its number, from 0.
            noise: float32 (1, channels, height, width), what the frame started from.
        """
        clean, noisy = self._levels.tensor[2 * step], self._levels.tensor[2 * step + 1]
        kept = (self._latents * clean).addcmul_(noise, noisy)
        sample.copy_(torch.lerp(kept, sample, self._latent_mask))

    def compose(self, rendered: Tensor) -> Tensor:
        """Put the input around the rendered image: (1, 3, h, w)."""
        mask = self._mask.to(rendered.dtype)
        return torch.lerp(self._image.to(rendered.dtype), rendered, mask)
