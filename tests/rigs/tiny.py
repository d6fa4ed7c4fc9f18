"""Small random pipelines of the real classes in the real folder layout, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcm_daemon.recipes.recipe import Recipe
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

WORDS = ("lava", "ocean", "clouds", "fire", "red", "blue", "deep", "glowing")
SCALED = {"_class_name": "LCMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
          "num_train_timesteps": 1000, "original_inference_steps": 50, "prediction_type": "epsilon"}
VELOCITY = {**SCALED, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
TURBO = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085,
         "beta_end": 0.012, "num_train_timesteps": 1000, "prediction_type": "epsilon", "timestep_spacing": "trailing"}

# What the families' UNets have of their own, by diffusers' names; of Stable Diffusion 1.x nothing.
SD2: Mapping[str, Any] = {"use_linear_projection": True, "attention_head_dim": (4, 8)}
XL: Mapping[str, Any] = {
    **SD2, "cross_attention_dim": 64, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 32, "transformer_layers_per_block": (1, 2),
}
SSD: Mapping[str, Any] = {  # as SSD-1B and Segmind Vega are cut: by numbers that differ within a block
    **XL, "transformer_layers_per_block": [1, [2]], "reverse_transformer_layers_per_block": [[1, 3], 1],
    "mid_block_type": "UNetMidBlock2D",
}
SDXS: Mapping[str, Any] = {"mid_block_type": None}


def make_unet(channels: int = 4, width: int = 32, **config: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(**{
        "sample_size": 8, "in_channels": channels, "out_channels": channels, "block_out_channels": (32, 64),
        "layers_per_block": 1, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": width,
        "attention_head_dim": 8, "norm_num_groups": 8, **config})


def make_tiny_vae(channels: int = 4) -> AutoencoderTiny:
    """Eight pixels to one latent, like TAESD."""
    vae = AutoencoderTiny(latent_channels=channels, encoder_block_out_channels=(16,) * 4,
                          decoder_block_out_channels=(16,) * 4, num_encoder_blocks=(1, 1, 1, 1),
                          num_decoder_blocks=(1, 1, 1, 1))
    _liven(vae.encoder.layers[-1], 40.0)
    _liven(vae.decoder.layers[-1], 8.0, 0.5)
    return vae


def make_kl_vae() -> AutoencoderKL:
    vae = AutoencoderKL(block_out_channels=(16, 16, 16, 16), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4,
                        scaling_factor=0.18215)
    _liven(vae.encoder.conv_out, 4.0)
    return vae


def _liven(layer: torch.nn.Conv2d, gain: float, bias: float | None = None) -> None:
    """Random weights give grey pictures; comparisons need contrast that stays within what bytes can show."""
    with torch.no_grad():
        layer.weight.mul_(gain)
        if bias is not None and layer.bias is not None:
            layer.bias.fill_(bias)


def make_text_encoder(vocabulary: int, width: int = 32, tokens: int = 16, projects: bool = False) -> Any:
    kind = CLIPTextModelWithProjection if projects else CLIPTextModel
    return kind(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=tokens, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1, projection_dim=32))


def write_tokenizer(folder: Path, tokens: int = 16, **special: str) -> int:
    """A CLIPTokenizer of letters and a few merges; returns the size of its vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + ["!"]
    pieces = letters + [letter + "</w>" for letter in letters] + ["l a", "la v", "lav a</w>", "r e", "re d</w>"]
    merges = [piece for piece in pieces if " " in piece]
    words = [piece.replace(" ", "") for piece in pieces] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=tokens, **special).save_pretrained(folder)
    return len(words)


def write_checkpoint(folder: Path, schedule: Mapping[str, Any] = SCALED, unet: Mapping[str, Any] | None = None,
                     vae: Any = None, seed: int = 0) -> Path:
    """A whole diffusers folder with random weights, 64x64 pixels to 8x8 latents."""
    torch.manual_seed(seed)
    vae = vae or make_tiny_vae()
    vocabulary = write_tokenizer(folder / "tokenizer")
    make_unet(vae.config.latent_channels, **(unet or {})).save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    make_text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(dict(schedule)))
    return folder


def write_xl(folder: Path, schedule: Mapping[str, Any] = SCALED, unet: Mapping[str, Any] = XL, vae: Any = None,
             force_zeros: bool = True) -> Path:
    """The same of Stable Diffusion XL: two text encoders, the second with a projection and another padding."""
    write_checkpoint(folder, schedule, unet, vae)
    vocabulary = write_tokenizer(folder / "tokenizer_2", pad_token="!")
    make_text_encoder(vocabulary, projects=True).save_pretrained(folder / "text_encoder_2")
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": force_zeros}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_controlnet(folder: Path, model: Path, seed: int = 3) -> Path:
    """A ControlNet for the UNet of `model`, far enough from its beginnings, which are all zeros."""
    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(model / "unet"))
    for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block,
                  network.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(layer.weight, std=0.1)
    network.save_pretrained(folder)
    return folder


def write_image_encoder(folder: Path) -> Path:
    torch.manual_seed(4)
    CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8,
        projection_dim=16)).save_pretrained(folder)
    return folder


def write_ip_adapter(file: Path, model: Path) -> Path:
    """An IP-Adapter for the UNet of `model`, in the keys of the original weights."""
    torch.manual_seed(5)
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    width = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * width, 16) * 0.2, "image_proj.proj.bias": torch.zeros(4 * width),
        "image_proj.norm.weight": torch.ones(width), "image_proj.norm.bias": torch.zeros(width),
    }
    # The original counts attention layers through; those to the prompt have the odd numbers.
    cross = [module for name, module in _attentions(unet) if name.endswith("attn2")]
    for number, layer in enumerate(cross):
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(layer.to_q.out_features, width) * 0.2
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def _attentions(unet: UNet2DConditionModel) -> list[tuple[str, Any]]:
    """In the order of the original's numbers: that of `attn_processors`."""
    return [(name.removesuffix(".processor"), unet.get_submodule(name.removesuffix(".processor")))
            for name in unet.attn_processors]


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    """A recipe for such a folder, in float32 on the CPU."""
    return Recipe(**{"name": "tiny", "model": str(folder), "size": (64, 64), "device": "cpu", "dtype": "float32",
                     "guidance": "none", "accelerate": "none", **changes})
