"""Denoiser: one pass of a model's denoiser, as the denoising loop calls it. Each family of models has its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


class Denoiser(nn.Module):
    """A denoiser whose inputs are all tensors, so that it can be traced, compiled and recorded without changes.

    Attributes:
        channels: Of the latents.
        guidance_width: Numbers that it takes as the guidance scale; 0 where it takes none.
        inputs: What it takes beside sample, timestep, prompts and scale: names of fields of `Conditioning`, in order.
    """

    channels: int
    guidance_width: int = 0
    inputs: Sequence[str] = ()

    def guidance_input(self, guidance: float) -> NDArray[np.float32]:
        """The guidance scale as an input, (guidance_width,)."""
        return np.zeros(self.guidance_width, np.float32)

    def count_tokens(self, shape: tuple[int, int, int]) -> int:
        """Tokens of an image whose latents have this shape, (channels, height, width)."""
        return shape[1] * shape[2]

    @abstractmethod
    def forward(self, sample: Tensor, timestep: Tensor, states: Tensor, scale: Tensor | None = None,
                *inputs: Tensor | None) -> Tensor:
        """Predict.

        Args:
            sample: (n, channels, h, w), the noisy latents.
            timestep: float32 (1,) or (n,), as the sampler plans it.
            states: (n, tokens, width), the embedded prompts.
            scale: (1, guidance_width), the guidance scale.
            inputs: What `Denoiser.inputs` names, None where it is not used.

        Returns:
            The model's output, with the shape and dtype of `sample`.
        """
