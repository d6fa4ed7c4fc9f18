"""Denoiser: a UNet with every input a tensor, so that it can be traced, compiled and captured as it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Denoiser(nn.Module):
    """One pass of a diffusers `UNet2DConditionModel`. n pictures at once: 2 for classifier-free guidance."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(
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
        """The model's output, as `sample` in shape and dtype.

        sample: (n, channels, h, w).   timestep: float32 (1,) or (n,).   states: (n, tokens, width), the prompts.
        scale: (1, time_cond_proj_dim), the guidance where the UNet takes it as an input.
        pooled, ids: (n, width) and (n, 6), SDXL's pooled prompts and sizes.
        image: (n, 1, 2 * tokens, width), as `ImagePrompt` makes it.
        residuals: the ControlNets', the middle block's last.
        """
        added: dict[str, Any] = {"text_embeds": pooled, "time_ids": ids} if pooled is not None else {}
        if image is not None:
            added["image_embeds"] = [image]
        output: Tensor = self.unet(
            sample, timestep, encoder_hidden_states=states, timestep_cond=scale, added_cond_kwargs=added or None,
            down_block_additional_residuals=residuals[:-1] or None,
            mid_block_additional_residual=residuals[-1] if residuals else None, return_dict=False)[0]
        return output
