"""Stable Diffusion 1.x, 2.x and XL, and what was distilled from them: a UNet, a VAE, and one or two CLIP encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from lcm_daemon.pipelines.accelerators.folding import fold_vae
from lcm_daemon.pipelines.accelerators.upsampling import fold_upsampling
from lcm_daemon.pipelines.model_parts import ModelParts
from lcm_daemon.pipelines.prompts import PromptEncoder
from lcm_daemon.pipelines.unet import UNetPass

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import Components


class StableDiffusion(ModelParts):
    """The parts of the family."""

    denoisers: Mapping[str, Any] = {"UNet2DConditionModel": diffusers.UNet2DConditionModel}
    vaes: Mapping[str, Any] = {
        "AutoencoderTiny": diffusers.AutoencoderTiny, "AutoencoderKL": diffusers.AutoencoderKL,
    }
    text_encoders: Mapping[str, Any] = {
        "CLIPTextModel": CLIPTextModel,
        "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    }
    projects_prompt = True

    def read_tokenizer(self, folder: Path) -> Any:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)

    def make_denoiser(self, model: Any) -> UNetPass:
        return UNetPass(model)

    def make_prompts(self, components: Components) -> PromptEncoder:
        return PromptEncoder(components)

    def fold(self, components: Components, shape: tuple[int, int, int]) -> None:
        fold_vae(components.vae)
        if components.device.type != "cpu":
            return
        fold_upsampling(components.vae.decoder)
        levels = len(components.unet.config.block_out_channels)
        if not any(side % (1 << levels - 1) for side in shape[1:]):  # else the UNet upsamples to sizes not double
            fold_upsampling(components.unet, kept=components.loras.layers)
