"""Random weights in the architectures of real models, for measurements without downloads: speed does not depend on the
weights.

The shapes are those of the models' own config.json files. A test compares the numbers of parameters with the published
ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines import random_families
from lcm_daemon.pipelines.base import Progress
from lcm_daemon.pipelines.components import Components, TextEncoder
from lcm_daemon.pipelines.loras import LiveLoras
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe, split_hub

Config = Mapping[str, Any]

TOKENS = 77  # in a prompt, for every CLIP text model
GAIN = 0.5  # of a random layer: sums over many layers stay in the range of half precision
PATTERN = 1 << 20  # random numbers drawn; larger layers repeat them, because drawing a billion takes seconds


@dataclass(frozen=True)
class Architecture:
    """Configurations of one model's parts.

    text, second: the text models; only Stable Diffusion XL has a second one.
    schedule: scheduler_config.json.
    scaling: factor of the full VAE's latents.
    """

    unet: Config
    text: Config
    second: Config | None = None
    schedule: Config = field(default_factory=dict)
    scaling: float = 0.18215


_SD: Config = {"down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
               "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
               "block_out_channels": (320, 640, 1280, 1280)}
_SD15: Config = {**_SD, "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
_SD21: Config = {**_SD, "sample_size": 64, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20),
                 "use_linear_projection": True}
_XL: Config = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
               "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "sample_size": 128,
               "block_out_channels": (320, 640, 1280), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048,
               "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
               "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
               "projection_class_embeddings_input_dim": 2816}
_SSD_1B: Config = {**_XL, "transformer_layers_per_block": (1, (2, 2), (4, 4)), "mid_block_type": "UNetMidBlock2D",
                   "reverse_transformer_layers_per_block": ((4, 4, 10), (2, 1, 1), 1)}
_VEGA: Config = {**_XL, "transformer_layers_per_block": (1, (1, 1), (2, 2)), "mid_block_type": "UNetMidBlock2D",
                 "reverse_transformer_layers_per_block": ((2, 2, 2), (1, 1, 1), 1)}

_CLIP_L: Config = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_CLIP_H: Config = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
                   "hidden_act": "gelu"}
_CLIP_G: Config = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
                   "hidden_act": "gelu", "projection_dim": 1280}
_NOISE: Config = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
                  "num_train_timesteps": 1000, "prediction_type": "epsilon", "timestep_spacing": "trailing"}

ARCHITECTURES: Mapping[str, Architecture] = {  # by `model` in the recipe
    "stable-diffusion-v1-5/stable-diffusion-v1-5": Architecture(_SD15, _CLIP_L, None, _NOISE),
    "Lykon/dreamshaper-8": Architecture(_SD15, _CLIP_L, None, _NOISE),
    "SimianLuo/LCM_Dreamshaper_v7": Architecture({**_SD15, "time_cond_proj_dim": 256}, _CLIP_L, None, _NOISE),
    "stabilityai/sd-turbo": Architecture(_SD21, _CLIP_H, None, _NOISE),
    "stabilityai/stable-diffusion-xl-base-1.0": Architecture(_XL, _CLIP_L, _CLIP_G, _NOISE, 0.13025),
    "stabilityai/sdxl-turbo": Architecture(_XL, _CLIP_L, _CLIP_G, _NOISE, 0.13025),
    "Lykon/dreamshaper-xl-v2-turbo": Architecture(_XL, _CLIP_L, _CLIP_G, _NOISE, 0.13025),
    "segmind/SSD-1B": Architecture(_SSD_1B, _CLIP_L, _CLIP_G, _NOISE, 0.13025),
    "segmind/Segmind-Vega": Architecture(_VEGA, _CLIP_L, _CLIP_G, _NOISE, 0.13025),
}
TINY_VAES = ("madebyollin/taesd", "madebyollin/taesdxl")
# A ControlNet is the first half of its model's UNet. The blocks of SDXL's small ones have no attention.
_SMALL: Config = {"down_block_types": ("DownBlock2D",) * 3, "transformer_layers_per_block": (0, 0, 0)}
SMALL_CONTROLNETS = ("diffusers/controlnet-canny-sdxl-1.0-small", "diffusers/controlnet-depth-sdxl-1.0-small")
UNIONS: Mapping[str, int] = {  # ControlNet-Unions, and the kinds of maps that they know
    "xinsir/controlnet-union-sdxl-1.0": 6, "brad-twinkl/controlnet-union-sdxl-1.0-promax": 8,
}
_WIDE_ADAPTER: Config = {"channels": [320, 640, 1280, 1280], "adapter_type": "full_adapter_xl", "downscale_factor": 16}
ADAPTERS: Mapping[str, Config] = {  # T2I-Adapters
    "TencentARC/t2i-adapter-canny-sdxl-1.0": _WIDE_ADAPTER, "TencentARC/t2i-adapter-sketch-sdxl-1.0": _WIDE_ADAPTER,
    "webui/ControlNet-modules-safetensors/t2iadapter_canny-fp16.safetensors": {"in_channels": 1},
}
_ONLY_UNETS = ("up_block_types", "sample_size", "time_cond_proj_dim")


def random_components(recipe: Recipe, device: torch.device, dtype: torch.dtype, progress: Progress) -> Components:
    """Make what `load_components` loads, with random weights. LoRAs are omitted: merged, they cost no time.

    Raises:
        RecipeError: The recipe's model is not in ARCHITECTURES.
    """
    if recipe.family in random_families.ARCHITECTURES:
        return random_families.make_components(recipe, device, dtype, progress, randomize)
    architecture = _choose(recipe)

    def make(part: str, model: Any) -> Any:
        progress(f"making a random {part}")
        return fill(model, device, dtype)

    unet = make("unet", make_unet(architecture))
    vae = make("vae", make_vae(recipe, architecture))
    networks = {model: make("controlnet", make_controlnet(architecture, model))
                for model in dict.fromkeys(control.model for control in recipe.controlnets)}
    controlnets = {control.name: networks[control.model] for control in recipe.controlnets}
    tokenizer = CLIPTokenizer.from_pretrained(locate(load_recipe("builtin")).model / "tokenizer",
                                              local_files_only=True, model_max_length=TOKENS)
    encoders = [make("text encoder", make_text_encoder(architecture, number, tokenizer))
                for number in range(2 if architecture.second else 1)]
    for model in (unet, vae, *controlnets.values()):
        model.to(memory_format=torch.channels_last)
    return Components(
        unet, vae, tuple(TextEncoder(tokenizer, encoder) for encoder in encoders),
        {**architecture.schedule, **recipe.schedule}, device, dtype, LiveLoras(unet, encoders, {}), controlnets,
        force_zeros=architecture.second is not None)


def _choose(recipe: Recipe) -> Architecture:
    name = (split_hub(recipe.model) or (recipe.model,))[0]
    if name not in ARCHITECTURES or recipe.all_image_prompts:
        what = "image prompts" if recipe.all_image_prompts else f"the model {name}"
        raise RecipeError(f"recipe {recipe.name}: random weights are not available for {what}, only for "
                          f"{', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


# --- models on the meta device: shapes without memory ---


def make_unet(architecture: Architecture) -> Any:
    with torch.device("meta"):
        return UNet2DConditionModel(**architecture.unet)


def make_controlnet(architecture: Architecture, model: str) -> Any:
    half = {key: value for key, value in architecture.unet.items() if key not in _ONLY_UNETS}
    with torch.device("meta"):
        if model in ADAPTERS:
            return diffusers.T2IAdapter(**ADAPTERS[model])
        if model in UNIONS:
            return diffusers.ControlNetUnionModel(**half, conditioning_embedding_out_channels=(16, 32, 96, 256),
                                                  num_control_type=UNIONS[model])
        return ControlNetModel(**{**half, **(_SMALL if model in SMALL_CONTROLNETS else {})})


def make_vae(recipe: Recipe, architecture: Architecture) -> Any:
    """The tiny or the full VAE, as in the recipe."""
    with torch.device("meta"):
        if recipe.vae in TINY_VAES:
            return AutoencoderTiny()
        return AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                             block_out_channels=(128, 256, 512, 512), layers_per_block=2,
                             scaling_factor=architecture.scaling)


def make_text_encoder(architecture: Architecture, number: int, tokenizer: Any) -> Any:
    """The text model with this number, 0 or 1. The second one, of Stable Diffusion XL, has a projection."""
    kind = CLIPTextModelWithProjection if number else CLIPTextModel
    shape = (architecture.second if number else architecture.text) or {}
    config = CLIPTextConfig(vocab_size=49408, max_position_embeddings=TOKENS, bos_token_id=tokenizer.bos_token_id,
                            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **shape)
    with torch.device("meta"):
        return kind(config)


@torch.no_grad()
def fill(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Move a model from the meta device to `device`, with random weights that preserve the scale of activations."""
    model = model.to(dtype).to_empty(device=device)
    randomize(model, device, dtype)
    for name, buffer in model.named_buffers():
        if not name.endswith("position_ids"):
            raise ValueError(f"unknown buffer {name}; it needs a value here")
        buffer.copy_(torch.arange(buffer.shape[-1]))
    return model.eval().requires_grad_(False)


@torch.no_grad()
def randomize(model: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Give all parameters of a model random values that preserve the scale of activations."""
    noise = torch.randn(PATTERN, generator=torch.Generator(device).manual_seed(0), device=device).to(dtype)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:  # a norm or a bias
            weight.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            _tile(weight, noise[:weight.numel()] * (GAIN * (weight[0].numel() ** -0.5)))


def _tile(weight: torch.Tensor, noise: torch.Tensor) -> None:
    flat, whole = weight.view(-1), weight.numel() // noise.numel() * noise.numel()
    flat[:whole].view(-1, noise.numel()).copy_(noise)
    flat[whole:].copy_(noise[:weight.numel() - whole])
