"""The layers of a model by the names that LoRA files use for them.

Flattened, all styles name the same layer, so layers are looked up by their flattened path: that of diffusers, and that
of the original implementation (CompVis and Stability AI's UNetModel), whose block numbers kohya's files for SDXL have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from lcm_daemon.pipelines.lora_keys import FIRST, SECOND, UNET, Key

Norm = nn.GroupNorm | nn.LayerNorm
LayerNames = Mapping[tuple[str, str], nn.Module]  # by the model and the flattened path


def layers_of(unet: nn.Module, text_encoders: Sequence[nn.Module]) -> LayerNames:
    """Every layer that a LoRA may change, by its model and by each flattened path that files use for it."""
    targets = {UNET: unet, **dict(zip((FIRST, SECOND), text_encoders, strict=False))}
    return {(target, name): module for target, model in targets.items()
            for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d | Norm)
            for name in _names(path, model)}


def find_layer(layers: LayerNames, key: Key) -> tuple[str, nn.Module] | None:
    """The model and the layer that a key names; None if there is none."""
    path = _flat(key.path)
    return next(((target, layers[target, path]) for target in key.targets if (target, path) in layers), None)


def _flat(path: str) -> str:
    """A layer's path as kohya's scripts write it, without the parts in which library versions differ."""
    return path.replace(".processor.", ".").replace(".", "_").removeprefix("text_model_")


def _names(path: str, model: nn.Module) -> Iterable[str]:
    yield _flat(path)
    if path.endswith(".to_out.0"):
        yield _flat(path.removesuffix(".0"))  # in files from the time of attention processors
    if original := _original(path, model):
        yield _flat(original)


# diffusers' names inside a ResNet block, and the names in the original implementation, as in the conversion scripts of
# both.
_INSIDE: Mapping[str, str] = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}
_OUTSIDE: Mapping[str, str] = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
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
