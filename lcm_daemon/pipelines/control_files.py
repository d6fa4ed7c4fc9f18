"""Reads the files of control networks: ControlNets, ControlNet-Unions and T2I-Adapters.

The config.json of published ControlNet-Unions names the class of plain ControlNets, and lacks what only a Union has. So
the kind, and what the config lacks, are taken from the keys and shapes of the weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from lcm_daemon.pipelines.one_file import read_controlnet, taken_by
from lcm_daemon.recipes.safetensors_header import TensorInfo, read_header
from lcm_daemon.recipes.weight_folders import read_json

Header = Mapping[str, TensorInfo]
ReadPretrained = Callable[[Any, Path, torch.dtype], Any]

_UNION = "task_embedding"  # only a ControlNet-Union has it
# A T2I-Adapter's first layer sees squares of this many pixels a side, unfolded into channels.
_SQUARES: Mapping[str, int] = {"full_adapter": 8, "light_adapter": 8, "full_adapter_xl": 16}


def read_control(place: Path, dtype: torch.dtype, read_pretrained: ReadPretrained, unet_config: Path) -> Any:
    """Read a control network.

    Args:
        place: A diffusers folder, or a .safetensors file: of a T2I-Adapter, or of a ControlNet with the names of
            diffusers or of the original.
        dtype: Of its weights.
        read_pretrained: Reads a diffusers folder whose class is known.
        unet_config: The config.json of the model's UNet, which describes a ControlNet in one file.

    Returns:
        A ControlNetModel, ControlNetUnionModel or T2IAdapter of diffusers.

    Raises:
        OSError, ValueError, RecipeError: The file cannot be read, is damaged, or is of no such network.
    """
    file = place if place.is_file() else _weight_file(place)
    header = read_header(file) if file is not None else {}
    try:
        if any(re.match(r"(adapter\.)?body\.\d+\.", name) for name in header):
            return _read_adapter(place, file, header, dtype, read_pretrained)
        if _UNION in header:
            return _read_union(place, file, header, dtype, read_pretrained, unet_config)
    except (KeyError, IndexError, TypeError) as error:  # a layer is missing, or has another number of dimensions
        kind = "ControlNet-Union" if _UNION in header else "T2I-Adapter"
        raise ValueError(f"its layers are not those of a {kind} of Stable Diffusion") from error
    if place.is_file():
        return read_controlnet(place, unet_config, dtype)
    name = read_json(place / "config.json").get("_class_name")
    if name != "ControlNetModel":
        raise ValueError(f"{name} is not one of ControlNetModel, ControlNetUnionModel, T2IAdapter")
    from diffusers import ControlNetModel

    return read_pretrained(ControlNetModel, place, dtype)


def _weight_file(folder: Path) -> Path | None:
    """Any of a folder's weight files: those of other precisions have the same keys."""
    return next(iter(sorted(folder.glob("*.safetensors"))), None)


def _read_union(place: Path, file: Path | None, header: Header, dtype: torch.dtype, read_pretrained: ReadPretrained,
                unet_config: Path) -> Any:
    from diffusers import ControlNetUnionModel

    if place.is_file():
        config = taken_by(ControlNetUnionModel, read_json(unet_config))
    else:
        config = read_json(place / "config.json")
    if config.get("_class_name") == "ControlNetUnionModel" or file is None:
        return read_pretrained(ControlNetUnionModel, place, dtype)
    kinds, width = header[_UNION].shape
    layers = {match[1] for name in header if (match := re.match(r"transformer_layes\.(\d+)\.", name))}
    found = {"num_control_type": kinds, "num_trans_channel": width, "num_trans_layer": len(layers),
             "num_proj_channel": header["spatial_ch_projs.weight"].shape[0]}
    return _assemble(ControlNetUnionModel, {**config, **found}, load_file(file), dtype)


def _read_adapter(place: Path, file: Path | None, header: Header, dtype: torch.dtype,
                  read_pretrained: ReadPretrained) -> Any:
    from diffusers import T2IAdapter

    if (place / "config.json").is_file():
        return read_pretrained(T2IAdapter, place, dtype)
    assert file is not None  # its header was read
    rename = _renaming(header)
    config = _adapter_config({rename(name): info.shape for name, info in header.items()})
    return _assemble(T2IAdapter, config, {rename(name): tensor for name, tensor in load_file(file).items()}, dtype)


def _renaming(names: Iterable[str]) -> Callable[[str], str]:
    """A function from the names of a T2I-Adapter's tensors, of diffusers or the original, to those of diffusers.

    The original numbers all blocks of a full adapter through, two on each level; those of a light adapter lie below
    their level. The rules are those of diffusers' scripts/convert_original_t2i_adapter.py.
    """
    bare = [name.removeprefix("adapter.") for name in names]
    if any(".resnets." in name for name in bare):
        return lambda name: f"adapter.{name.removeprefix('adapter.')}"
    rename = _name_in_full_adapter if any(name.startswith("conv_in.") for name in bare) else _name_in_light_adapter
    return lambda name: f"adapter.{rename(name.removeprefix('adapter.'))}"


def _name_in_full_adapter(name: str) -> str:
    if not (match := re.fullmatch(r"body\.(\d+)\.(.+)", name)):
        return name
    level, block = divmod(int(match[1]), 2)
    return f"body.{level}.{match[2]}" if match[2].startswith("in_conv.") else f"body.{level}.resnets.{block}.{match[2]}"


def _name_in_light_adapter(name: str) -> str:
    return re.sub(r"^body\.(\d+)\.body\.", r"body.\1.resnets.", name)


def _adapter_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The config of a T2I-Adapter, by the shapes of its tensors."""
    blocks = len({name.split(".")[4] for name in shapes if name.startswith("adapter.body.0.resnets.")})
    if "adapter.conv_in.weight" not in shapes:
        ends = [shapes[name][0] for name in sorted(shapes) if name.endswith("out_conv.weight")]
        return _config("light_adapter", shapes["adapter.body.0.in_conv.weight"][1], ends[:-1], blocks)
    widths = [shapes[name][0] for name in sorted(shapes) if name.endswith("resnets.0.block1.weight")]
    inputs = shapes["adapter.conv_in.weight"][1]
    return _config("full_adapter_xl" if inputs % 256 == 0 else "full_adapter", inputs, widths, blocks)


def _config(kind: str, inputs: int, channels: list[int], blocks: int) -> dict[str, Any]:
    """inputs: channels of the first layer, which sees squares of the image unfolded."""
    side = _SQUARES[kind]
    return {"adapter_type": kind, "in_channels": inputs // side**2, "channels": channels, "num_res_blocks": blocks,
            "downscale_factor": side}


def _assemble(kind: Any, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """Make a model of the class `kind` of exactly these tensors."""
    with torch.device("meta"):  # skip the random initialisation
        model = kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    wrong = {key for key in shapes.keys() | tensors.keys()
             if key not in tensors or tensors[key].shape != shapes.get(key)}
    if wrong:
        raise ValueError(f"weights do not fit {kind.__name__}: {min(wrong)}")
    model.load_state_dict({key: tensor.to(dtype) for key, tensor in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)
