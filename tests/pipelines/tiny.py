"""Small random pipelines of the real classes in the real folder layout, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lcm_daemon.recipe import Recipe

WORDS = ("lava", "ocean", "clouds", "fire", "red", "blue", "deep", "glowing")
SCALED = {"_class_name": "LCMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
          "num_train_timesteps": 1000, "original_inference_steps": 50, "prediction_type": "epsilon"}
VELOCITY = {**SCALED, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
TURBO = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085,
         "beta_end": 0.012, "num_train_timesteps": 1000, "prediction_type": "epsilon", "timestep_spacing": "trailing"}


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


def make_text_encoder(vocabulary: int, width: int = 32, tokens: int = 16) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=tokens, bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1))


def write_tokenizer(folder: Path, tokens: int = 16) -> int:
    """A CLIPTokenizer of letters and a few merges; returns the size of its vocabulary."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = letters + [letter + "</w>" for letter in letters] + ["l a", "la v", "lav a</w>", "r e", "re d</w>"]
    merges = [piece for piece in pieces if " " in piece]
    words = [piece.replace(" ", "") for piece in pieces] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=tokens).save_pretrained(folder)
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


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    """A recipe for such a folder, in float32 on the CPU."""
    return Recipe(**{"name": "tiny", "model": str(folder), "size": (64, 64), "device": "cpu", "dtype": "float32",
                     "guidance": "none", **changes})
