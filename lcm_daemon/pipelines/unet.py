"""UNetPass: a UNet whose inputs are all tensors, so that it can be traced, compiled and captured without changes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class UNetPass(nn.Module):
    """One forward pass of a diffusers `UNet2DConditionModel` on n images: 2 for classifier-free guidance."""

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
        """Predict with the UNet.

        Args:
            sample: (n, channels, h, w), the noisy latents.
            timestep: float32 (1,) or (n,).
            states: (n, tokens, width), the embedded prompts.
            scale: (1, time_cond_proj_dim), the guidance scale, for UNets that have it as an input.
            pooled: (n, width), SDXL's pooled prompts.
            ids: (n, 6), SDXL's sizes and crop.
            image: (n, 1, 2 * tokens, width), as `ImagePromptAdapter` makes it.
            residuals: Those of the ControlNets, the middle block's last.

        Returns:
            The model's output, with the shape and dtype of `sample`.
        """
        added: dict[str, Any] = {"text_embeds": pooled, "time_ids": ids} if pooled is not None else {}
        if image is not None:
            added["image_embeds"] = [image]
        output: Tensor = self.unet(
            sample, timestep, encoder_hidden_states=states, timestep_cond=scale, added_cond_kwargs=added or None,
            down_block_additional_residuals=residuals[:-1] or None,
            mid_block_additional_residual=residuals[-1] if residuals else None, return_dict=False)[0]
        return output
