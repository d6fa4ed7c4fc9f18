"""UNetPass: a UNet whose inputs are all tensors, so that it can be traced, compiled and captured without changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm_daemon.pipelines.denoiser import Denoiser


class UNetPass(Denoiser):
    """One forward pass of a diffusers `UNet2DConditionModel` on n images: 2 for classifier-free guidance."""

    inputs = ("pooled", "ids", "image")  # and residuals of control networks

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet
        self._of_controlnet = _count_residuals(unet)
        self.channels = int(unet.config.in_channels)
        self.guidance_width = int(unet.config.time_cond_proj_dim or 0)

    def guidance_input(self, guidance: float) -> NDArray[np.float32]:
        """The guidance scale as an input of the UNet, (time_cond_proj_dim,).

        Sinusoids of w = guidance - 1 times 1000, as in the LCM paper's appendix and diffusers'
        `get_guidance_scale_embedding`; in float32, since half precision cannot tell such angles apart.
        """
        half = self.guidance_width // 2
        frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10000.0) / (half - 1)))
        angles = (guidance - 1.0) * 1000.0 * frequencies
        waves: NDArray[np.float32] = torch.cat(
            [angles.sin(), angles.cos(), torch.zeros(self.guidance_width % 2)]).numpy()
        return waves

    def forward(  # type: ignore[override]  # its further inputs have names, for compilers and exports
        self,
        sample: Tensor,
        timestep: Tensor,
        states: Tensor,
        scale: Tensor | None = None,
        pooled: Tensor | None = None,
        ids: Tensor | None = None,
        image: Tensor | None = None,
        *residuals: Tensor,
    ) -> Tensor:
        """Predict with the UNet.

        Args:
            sample: (n, channels, h, w), the noisy latents.
            timestep: float32 (1,) or (n,).
            states: (n, tokens, width), the embedded prompts.
            scale: (1, time_cond_proj_dim), the guidance scale, for UNets that have it as an input.
            pooled: (n, width), SDXL's pooled prompts.
            ids: (n, 6), SDXL's sizes and crop.
            image: (n, 1, 2 * tokens, width), as `ImagePrompts` makes it.
            residuals: Those of the ControlNets, the middle block's last; then those of T2I-Adapters.

        Returns:
            The model's output, with the shape and dtype of `sample`.
        """
        added: dict[str, Any] = {"text_embeds": pooled, "time_ids": ids} if pooled is not None else {}
        if image is not None:
            added["image_embeds"] = [image]
        controls, adapters = self._split(residuals)
        output: Tensor = self.unet(
            sample, timestep, encoder_hidden_states=states, timestep_cond=scale, added_cond_kwargs=added or None,
            down_block_additional_residuals=controls[:-1] or None,
            mid_block_additional_residual=controls[-1] if controls else None,
            down_intrablock_additional_residuals=list(adapters) or None, return_dict=False)[0]
        return output

    def _split(self, residuals: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Residuals of ControlNets and of T2I-Adapters. An adapter has fewer than a ControlNet: one for each level."""
        count = self._of_controlnet if len(residuals) >= self._of_controlnet else 0
        return residuals[:count], residuals[count:]


def _count_residuals(unet: Any) -> int:
    """Residuals of a ControlNet: for the first layer, the down blocks' layers and downsamplers, the middle block."""
    return 2 + sum(len(block.resnets) + bool(block.downsamplers) for block in unet.down_blocks)
