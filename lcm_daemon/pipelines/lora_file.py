"""LoRA files: reads all common key styles and maps them to the layers of a model.

A LoRA adds scale * up @ down to a layer's weight (Hu et al., "LoRA", arXiv:2106.09685, section 4.1), with
scale = alpha / rank. Files differ in how they name the layer and the two matrices: kohya's scripts flatten the path
(`lora_unet_down_blocks_1_..._to_q.lora_down.weight`, `.alpha`), sometimes by the block numbers of the original
implementation (`input_blocks_4_1_...`); diffusers and peft keep the path (`unet.down_blocks.1....to_q.lora_A.weight`)
and may carry their configuration in the file's header. Flattened, all of them name the same layer, so layers are looked
up by their flattened path. (diffusers 0.42.1 reads these files too, but not all of them completely: from kohya's files
it loses the alphas of attention layers where they differ from layer to layer, and with transformers 5 the text
encoder's attention.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

Layer = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class Factor:
    """What a LoRA of weight 1 adds to one layer: up @ down, in float32.

    up: (outputs, rank), including the scale.
    down: (rank, inputs); for a convolution (rank, inputs * height * width).
    """

    up: torch.Tensor
    down: torch.Tensor


Factors = Mapping[Layer, Factor]

_TARGETS: Mapping[str, str] = {  # by the prefix of a key; the first match counts
    "lora_unet_": "unet", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te_": "text_encoder",
    "unet.": "unet", "text_encoder_2.": "text_encoder_2", "text_encoder.": "text_encoder", "base_model.model.": "unet",
    "": "unet",
}
_PARTS: Mapping[str, str] = {"down": "down", "A": "down", "up": "up", "B": "up", "alpha": "alpha"}
_KEY = re.compile(
    r"(?P<layer>.+?)[._](?:lora_linear_layer\.|lora\.|lora_)(?P<part>down|up|A|B)(?:\.default(?:_\d+)?)?\.weight"
    r"|(?P<scaled>.+)\.(?P<alpha>alpha)")
_METADATA = "lora_adapter_metadata"  # in the header of files from diffusers: peft's LoraConfig as JSON


def read_lora(file: Path, unet: nn.Module, text_encoders: Sequence[nn.Module]) -> Factors:
    """Read the factors in a .safetensors file, by the layers of these models.

    Raises:
        ValueError: The file is not a plain LoRA, or not one for these models.
        OSError, SafetensorError: The file cannot be read.
    """
    layers = _layers(unet, text_encoders)
    tensors: dict[Layer, dict[str, torch.Tensor]] = {}
    names: dict[Layer, tuple[str, str]] = {}
    with safe_open(file, framework="pt") as content:
        settings = json.loads((content.metadata() or {}).get(_METADATA, "{}"))
        for key in content.keys():  # noqa: SIM118 (not a mapping)
            target, path, part = _parse(key)
            layer = layers.get((target, _flat(path)))
            if layer is None:
                raise ValueError(f"it is not for this model: no layer fits the key {key!r}")
            tensors.setdefault(layer, {})[part] = content.get_tensor(key).float()
            names[layer] = (target, path)
    if not tensors:
        raise ValueError("it is empty")
    return {layer: _factor(layer, parts, names[layer], settings) for layer, parts in tensors.items()}


def _parse(key: str) -> tuple[str, str, str]:
    """Split a key into (model, path of the layer, part: up, down or alpha)."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"the key {key!r} is not of a plain LoRA; DoRA, LoHa, LoKr and the like are not supported")
    path = match["layer"] or match["scaled"]
    start = next(start for start in _TARGETS if path.startswith(start))
    return _TARGETS[start], path[len(start):], _PARTS[match["part"] or match["alpha"]]


def _flat(path: str) -> str:
    """A layer's path as kohya's scripts write it, without the parts in which library versions differ."""
    return path.replace(".processor.", ".").replace(".", "_").removeprefix("text_model_")


def _factor(layer: Layer, parts: Mapping[str, torch.Tensor], name: tuple[str, str],
            settings: Mapping[str, Any]) -> Factor:
    if "up" not in parts or "down" not in parts:
        raise ValueError(f"layer {'.'.join(name)} lacks one of its two matrices")
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    if (up.shape[1], down.shape[1]) != (len(down), layer.weight[0].numel()) or len(up) != len(layer.weight):
        raise ValueError(f"it is not for this model: layer {'.'.join(name)} has another size")
    rank = len(down)
    scale = float(parts["alpha"]) / rank if "alpha" in parts else _configured_scale(name, rank, settings)
    return Factor(up * scale, down)


def _configured_scale(name: tuple[str, str], rank: int, settings: Mapping[str, Any]) -> float:
    """The scale by peft's configuration in the file's header; without one, 1, as in diffusers."""
    target, path = name
    patterns: Mapping[str, float] = settings.get(f"{target}.alpha_pattern") or {}
    pattern = next((p for p in patterns if re.match(rf"(.*\.)?({p})$", path)), None)  # as peft looks them up
    alpha = patterns[pattern] if pattern else settings.get(f"{target}.lora_alpha", rank)
    return float(alpha) / (rank**0.5 if settings.get(f"{target}.use_rslora") else rank)


def _layers(unet: nn.Module, text_encoders: Sequence[nn.Module]) -> dict[tuple[str, str], Layer]:
    """Every layer that may have a factor, by its model and by each flattened path that files use for it."""
    targets = {"unet": unet, **dict(zip(("text_encoder", "text_encoder_2"), text_encoders, strict=False))}
    return {(target, name): module for target, model in targets.items()
            for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
            for name in _names(path, model)}


def _names(path: str, model: nn.Module) -> Iterable[str]:
    yield _flat(path)
    if path.endswith(".to_out.0"):
        yield _flat(path.removesuffix(".0"))  # in files from the time of attention processors
    if original := _original(path, model):
        yield _flat(original)


# diffusers' names inside a ResNet block, and the names in the original implementation (CompVis and Stability AI's
# UNetModel), as in the conversion scripts of both.
_INSIDE: Mapping[str, str] = {
    "conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE: Mapping[str, str] = {
    "conv_in": "input_blocks.0.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_BLOCK = re.compile(r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def _original(path: str, unet: nn.Module) -> str:
    """The path of a UNet's layer in the original implementation, or an empty string."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    if match := _MIDDLE.fullmatch(path):
        kind, number, rest = match.groups()
        return f"middle_block.{2 * int(number) + (kind == 'attentions')}.{_INSIDE.get(rest, rest)}"
    match = _BLOCK.fullmatch(path)
    return _original_block(match, unet) if match else ""


def _original_block(match: re.Match[str], unet: nn.Module) -> str:
    """The original numbers all blocks in a row. A downsampler is a block of its own, an upsampler is part of one."""
    side, block, kind, number, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    per_block = int(unet.config["layers_per_block"]) + 1  # type: ignore[index]
    if kind == "downsamplers":
        return f"input_blocks.{per_block * (block + 1)}.0.op"
    if kind == "upsamplers":
        position = 1 + bool(getattr(unet.get_submodule(f"up_blocks.{block}"), "attentions", None))
        return f"output_blocks.{per_block * (block + 1) - 1}.{position}.{rest}"
    first = per_block * block + number + (side == "down_blocks")
    name = "input_blocks" if side == "down_blocks" else "output_blocks"
    return f"{name}.{first}.{int(kind == 'attentions')}.{_INSIDE.get(rest, rest)}"
