"""Tells from the keys and shapes of a weight file what it is: which part of a model, and for which family of models.

The families differ in the width of the embedded prompt, which their UNets take in the layers attn2.to_k (the "context"
of Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", arXiv:2112.10752, section 3.3). Keys
are those of the original implementations (CompVis, Stability AI), of diffusers, and of the LoRA tools.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from lcm_daemon.recipes.safetensors_header import TensorInfo

Tensors = Mapping[str, TensorInfo]


@dataclass(frozen=True)
class Family:
    """A family of models whose parts fit each other.

    name: As users know it: "SD 1.x".
    context: Width of the embedded prompt; 0 where it does not identify the family.
    """

    name: str
    context: int = 0

    def __str__(self) -> str:
        return f"{self.name} (context {self.context})" if self.context else self.name


SD1 = Family("SD 1.x", 768)
SD2 = Family("SD 2.x", 1024)
SDXL = Family("SDXL", 2048)
REFINER = Family("the SDXL refiner", 1280)
BUILTIN = Family("the built-in model", 128)
_BY_CONTEXT: Mapping[int, Family] = {family.context: family for family in (SD1, SD2, SDXL, REFINER, BUILTIN)}
# Models of videos: their UNets have the context of SD 2.x or 1.x, and layers that only they have.
_VIDEO = re.compile(r"(^|[._])(time_stack|temporal_transformer_blocks|motion_modules)[._]")

# Families of transformers, by a key that only they have (as in diffusers' CHECKPOINT_KEY_NAMES and its own models).
_TRANSFORMERS: tuple[tuple[str, Family], ...] = (
    (r"(^|[._])joint_blocks[._]\d|transformer_blocks\.\d+\.attn\.add_q_proj.*context_embedder", Family("SD 3")),
    (r"(^|[._])double_stream_modulation|(^|[._])single_stream_modulation", Family("FLUX.2")),
    (r"(^|[._])double_blocks[._]\d|(^|[._])single_blocks[._]\d|(^|[._])single_transformer_blocks[._]\d",
     Family("FLUX.1")),
    (r"(^|[._])cap_embedder[._]", Family("Z-Image or Lumina")),
    (r"(^|\.)blocks\.\d+\.cross_attn\.kv_linear|(^|\.)caption_projection\.", Family("SANA or PixArt")),
    (r"^(transformer|diffusion_model|lora_unet|lora_transformer)[._](transformer_)?(blocks|layers)[._]\d",
     Family("a transformer")),  # LoRAs, by the usual names of its layers
)

_PARTS: Mapping[str, str] = {
    "checkpoint": "a whole model in one file", "unet": "a UNet", "vae": "a VAE", "controlnet": "a ControlNet",
    "lora": "a LoRA", "ip_adapter": "an IP-Adapter", "t2i_adapter": "a T2I-Adapter",
    "embedding": "an embedding (textual inversion)", "text_encoder": "a text encoder", "transformer": "a transformer",
}


@dataclass(frozen=True)
class WeightKind:
    """What a weight file is.

    part: One of "checkpoint", "unet", "vae", "controlnet", "lora", "ip_adapter", "t2i_adapter", "embedding",
        "text_encoder", "transformer"; "" if its keys are unknown.
    family: None if the keys do not tell it: a VAE of SD 1.x and of SDXL have the same keys and shapes.
    original: Its keys are those of the original implementation, not those of diffusers.
    inputs: Channels that its UNet takes: 4; 9 for inpainting, 8 for InstructPix2Pix; 0 for other parts.
    """

    part: str
    family: Family | None = None
    original: bool = False
    inputs: int = 0

    def __str__(self) -> str:
        """As in "a LoRA for SDXL (context 2048)"; "a file of unknown keys"."""
        named = _PARTS.get(self.part, "a file of unknown keys")
        return f"{named} for {self.family}" if self.family else named


def family_of_context(width: int) -> Family:
    """The family of models whose UNet takes an embedded prompt of this width."""
    return _BY_CONTEXT.get(width, Family("an unknown family", width))


def family_of_config(config: Mapping[str, Any]) -> Family | None:
    """The family by a config.json of diffusers: that of a UNet or a ControlNet; None if it does not tell."""
    width = config.get("cross_attention_dim")
    width = width[0] if isinstance(width, list) and width else width
    return family_of_context(width) if _is_number(width) else None


def identify(tensors: Tensors) -> WeightKind:
    """Tell what a weight file is, by what `safetensors_header.read_header` reads of it."""
    patterns = {_NUMBER.sub("0", name): info for name, info in tensors.items()}  # thousands of names, few patterns
    part = next((part for part, has in _SIGNS if has(patterns)), "")
    family = (_transformer(patterns) or _video(patterns) or _by_shapes(tensors)) if part else None
    return WeightKind(part, family, _IS_ORIGINAL(patterns), _inputs(tensors) if part in ("checkpoint", "unet") else 0)


def _by_shapes(tensors: Tensors) -> Family | None:
    return next((found for find in _FINDERS if (found := find(tensors)) is not None), None)


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


_NUMBER = re.compile(r"\d+")


def _has(pattern: str) -> Callable[[Tensors], bool]:
    """A test whether a name of a tensor contains the pattern."""
    compiled = re.compile(pattern)
    return lambda tensors: any(compiled.search(name) for name in tensors)


_HAS_LORA = _has(r"[._]lora[._]|[._]lora_|\.hada_w|\.lokr_w|\.oft_|\.glora_|\.dora_scale$|^lora_|^lycoris_|\.on_input$"
                 r"|\.diff(_b)?$|\.[ab]\d\.weight$")
_HAS_VAE = _has(r"^(first_stage_model\.)?(encoder|decoder)\.(down|up|mid)[._]|^(encoder|decoder)\.layers\.\d+\.|"
                r"^decoder\.\d+\.(conv|weight)|^(encoder|decoder)\.(stages|up_blocks|down_blocks)\.")
# Tests of a file's names, in which every number is 0. The first that fits counts.
_SIGNS: tuple[tuple[str, Callable[[Tensors], bool]], ...] = (
    ("lora", _HAS_LORA),
    ("ip_adapter", _has(r"^ip_adapter\.|\.to_k_ip\.")),
    ("checkpoint", lambda tensors: _has(r"^model\.diffusion_model\.")(tensors)
     and _has(r"^(cond_stage_model|conditioner|text_encoders|first_stage_model)\.")(tensors)),
    ("controlnet", _has(r"^control_model\.|(^|\.)controlnet_(cond_embedding|down_blocks|mid_block)\.|"
                        r"(^|\.)zero_convs\.|(^|\.)input_hint_block\.")),
    ("t2i_adapter", _has(r"^(adapter\.)?body\.\d+\.(resnets\.\d+\.)?(block\d|in_conv)")),
    ("transformer", lambda tensors: _transformer(tensors) is not None),
    ("unet", _has(r"(^|\.)input_blocks\.\d|^(unet\.)?down_blocks\.\d+\.(resnets|attentions)\.")),
    ("embedding", lambda tensors: len(tensors) <= 4 and _has(r"^(emb_params|clip_l|clip_g|<.+>)$")(tensors)),
    ("text_encoder", _has(r"(^|\.)text_model\.|^encoder\.layers\.\d+\.self_attn|(^|\.)transformer\.resblocks\.")),
    ("vae", _HAS_VAE),
)


def _transformer(tensors: Tensors) -> Family | None:
    return next((family for pattern, family in _TRANSFORMERS if _has(pattern)(tensors)), None)


def _video(tensors: Tensors) -> Family | None:
    return Family("Stable Video Diffusion or AnimateDiff") if any(_VIDEO.search(name) for name in tensors) else None


_TO_K = re.compile(r"attn2[._](processor[._])?to_k(_lora)?[._]")


def _by_context(tensors: Tensors) -> Family | None:
    """By the inputs of a layer attn2.to_k, whole or in the factors of a LoRA."""
    widths: dict[str, dict[str, int]] = {}
    for name, info in tensors.items():
        if (match := _TO_K.search(name)) and len(info.shape) >= 1:
            kind, width = _input_width(name[match.end():], info)
            widths.setdefault(name[:match.end()], {})[kind] = width
    for found in widths.values():
        if width := found.get("whole") or found.get("first", 0) * found.get("second", 0):
            return family_of_context(width)
    return None


def _input_width(part: str, info: TensorInfo) -> tuple[str, int]:
    """What a tensor tells of its layer's inputs: "whole" all of them; LoKr's two factors multiply theirs."""
    inputs = info.shape[1] if len(info.shape) >= 2 else 0
    if part.startswith(("lokr_w1", "lokr_w2")):
        factor = "first" if part.startswith("lokr_w1") else "second"
        return (factor, inputs) if not part.endswith("_a") else ("", 0)
    is_input = re.match(r"(lora_)?(down|A)\b|lora\.down|lora_linear_layer\.down|hada_w1_b|diff$|weight$|"
                        r"base_layer\.weight", part)
    return ("whole", inputs) if is_input else ("", 0)


def _by_ip_adapter(tensors: Tensors) -> Family | None:
    """By the inputs of the layers that an IP-Adapter adds to attn2: the width of the embedded prompt."""
    return next((family_of_context(info.shape[1]) for name, info in tensors.items()
                 if name.endswith("to_k_ip.weight") and len(info.shape) == 2), None)


def _by_other_keys(tensors: Tensors) -> Family | None:
    """By keys that only one family has, where no layer attn2.to_k is in the file."""
    if any(name.startswith(("lora_te2_", "text_encoder_2.", "conditioner.embedders.1.", "clip_g")) for name in tensors):
        return SDXL
    if "clip_l" in tensors:
        return SDXL
    widths = {"emb_params": -1, "cond_stage_model.model.positional_embedding": -1}
    width = next((tensors[name].shape[axis] for name, axis in widths.items()
                  if name in tensors and tensors[name].shape), 0)
    return family_of_context(width) if width else _by_text_lora(tensors)


def _by_text_lora(tensors: Tensors) -> Family | None:
    """By the inputs of a text encoder's layer in a LoRA. The first encoder of SDXL is that of SD 1.x."""
    found = re.compile(r"^(lora_te_|text_encoder\.).*q_proj.*(down|lora_A)\.weight$")
    width = next((info.shape[1] for name, info in tensors.items() if found.search(name) and len(info.shape) > 1), 0)
    return family_of_context(width) if width == SD2.context else None


_FINDERS: tuple[Callable[[Tensors], Family | None], ...] = (_by_ip_adapter, _by_context, _by_other_keys)
_IS_ORIGINAL = _has(
    r"(^|\.)input_blocks\.\d|(^|\.)(encoder\.down|decoder\.up)\.\d|^first_stage_model\.|^control_model\.")


def _inputs(tensors: Tensors) -> int:
    """Channels that a UNet's first layer takes; 0 if the file has none."""
    ends = ("input_blocks.0.0.weight", "conv_in.weight")
    return next((info.shape[1] for name, info in tensors.items() if name.endswith(ends) and len(info.shape) == 4
                 and not name.startswith("first_stage_model.")), 0)
