"""Reads parts of a model from one file: a whole checkpoint, or a UNet, VAE or ControlNet with the original names.

The original implementations (CompVis' and Stability AI's) name the layers differently from diffusers. The files do not
say what their model looks like: that is read from the config.json files of the model that the recipe is based on, and
every tensor must then fit. diffusers' own conversions rename the tensors.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from lcm_daemon.pipelines.quick_read import fill, make_empty
from lcm_daemon.pipelines.weight_values import refuse_integers
from lcm_daemon.recipes.checkpoints import PREFIXES
from lcm_daemon.recipes.safetensors_header import read_header
from lcm_daemon.recipes.weight_folders import read_json

Tensors = Mapping[str, torch.Tensor]

_UNET, _CONTROLNET = PREFIXES["unet"][0], "control_model."
# Tensors of no use in a picture: buffers, CLIP's temperature, and the head that a model without projection lacks.
_UNUSED = re.compile(r".*position_ids|.*logit_scale|text_projection(\.weight)?|loss\..*|model_ema\..*")


def read_unet(kind: Any, file: Path, config: Path, dtype: torch.dtype) -> Any:
    """Read a UNet from a file of its own, such as SDXL-Lightning's, or from a whole checkpoint.

    Args:
        kind: Class of diffusers.
        file: A .safetensors file, with the names of diffusers or of the original.
        config: The config.json that describes it.
        dtype: Of its weights.

    Raises:
        ValueError: The weights are not those that the configuration describes.
        OSError, SafetensorError: The file cannot be read.
    """
    refuse_integers(read_header(file), PREFIXES["unet"])
    content, tensors = read_json(config), read_below(file, (_UNET, "unet.", ""))
    if "input_blocks.0.0.weight" in tensors:
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

        given, tensors = tensors, convert_ldm_unet_checkpoint(
            {_UNET + name: tensor for name, tensor in tensors.items()}, content)
        _refuse_unknown(given, tensors)
    return assemble(kind, content, tensors, dtype, config)


def read_vae(kinds: Mapping[str, Any], file: Path, config: Path, dtype: torch.dtype) -> Any:
    """Read a VAE from a file of its own or from a whole checkpoint; arguments and errors as of `read_unet`.

    kinds: Classes, by the name in config.json. A tiny VAE (TAESD) needs no config.json.
    """
    tensors = read_below(file, (*PREFIXES["vae"], ""))
    if is_tiny(tensors):
        return assemble(kinds["AutoencoderTiny"], {}, tensors, dtype, file)
    content = read_json(config)
    if "encoder.conv_norm_out.weight" not in tensors:
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        tensors = convert_ldm_vae_checkpoint(tensors, content)
    return assemble(kinds["AutoencoderKL"], content, tensors, dtype, config)


def _refuse_unknown(given: Tensors, converted: Tensors) -> None:
    """Raise ValueError for tensors that a conversion, which only renames, has left out: it does not know them."""
    kept = {id(tensor) for tensor in converted.values()}
    if unknown := sorted(name for name, tensor in given.items() if id(tensor) not in kept):
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise ValueError(f"it has weights of another kind of model: {unknown[0]}{more}")


def is_tiny(names: Mapping[str, Any]) -> bool:
    """Whether a VAE's tensors are those of a tiny one, in the names of diffusers."""
    return any(re.match(r"(encoder|decoder)\.layers\.\d+\.", name) for name in names)


def read_text_encoder(kind: Any, file: Path, config: Path, part: str, dtype: torch.dtype) -> Any:
    """Read a CLIP text encoder from a whole checkpoint; arguments and errors as of `read_unet`.

    part: "text_encoder" or "text_encoder_2".
    """
    content = read_json(config)
    prefixes, names = (*PREFIXES[part], ""), list(read_header(file))
    prefix = next(prefix for prefix in prefixes if any(name.startswith(prefix) for name in names))
    tensors = read_below(file, (prefix,))
    model = make_empty(kind, content)
    if prefix.endswith("model."):
        from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

        whole = {prefix + name: tensor for name, tensor in tensors.items()}
        tensors = convert_open_clip_checkpoint(model, whole, prefix)
    wanted = model.state_dict()
    named = {_as_in(wanted, name): tensor for name, tensor in tensors.items() if not _is_beyond(name, content)}
    return _fit(model, named, dtype, config)


def _as_in(wanted: Mapping[str, Any], name: str) -> str:
    """A tensor's name as the installed transformers has it: with "text_model." before it or without."""
    bare = name.removeprefix("text_model.")
    return next((one for one in (name, bare, f"text_model.{bare}") if one in wanted), name)


def _is_beyond(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a layer follows the last one that is used: Stable Diffusion 2.x ends before OpenCLIP's last layer."""
    match = re.search(r"encoder\.layers\.(\d+)\.", name)
    return match is not None and int(match[1]) >= int(config["num_hidden_layers"])


def read_controlnet(file: Path, unet_config: Path, dtype: torch.dtype) -> Any:
    """Read a ControlNet from one file, with the names of diffusers or of the original.

    Args:
        file: A .safetensors file.
        unet_config: The config.json of the model's UNet, of which a ControlNet is a copy of the first half.
        dtype: Of its weights.

    Raises:
        ValueError, OSError, SafetensorError: As of `read_unet`.
    """
    from diffusers import ControlNetModel

    of_unet, tensors = read_json(unet_config), read_below(file, (_CONTROLNET, ""))
    if "time_embed.0.weight" in tensors:
        from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

        given, tensors = tensors, convert_controlnet_checkpoint(dict(tensors), of_unet)
        _refuse_unknown(given, tensors)
    config = taken_by(ControlNetModel, of_unet) | _first_layers(tensors, of_unet)
    return assemble(ControlNetModel, config, tensors, dtype, unet_config)


def taken_by(kind: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a UNet's configuration that a control network of the class `kind` has, too."""
    taken = inspect.signature(kind.__init__).parameters
    return {name: value for name, value in config.items() if name in taken}


def _first_layers(tensors: Tensors, of_unet: Mapping[str, Any]) -> dict[str, Any]:
    """What a ControlNet's configuration has beside its UNet's, by its tensors; small ones have less attention."""
    name = "controlnet_cond_embedding.{}.weight"
    if name.format("conv_in") not in tensors:
        raise ValueError("it has no layers of a ControlNet")
    widths = [tensors[name.format("conv_in")].shape[0]]
    while (block := name.format(f"blocks.{2 * len(widths) - 1}")) in tensors:
        widths.append(tensors[block].shape[0])
    found: dict[str, Any] = {"conditioning_embedding_out_channels": widths,
                             "conditioning_channels": tensors[name.format("conv_in")].shape[1]}
    types = [_type_of(tensors, number) for number in range(len(of_unet["down_block_types"]))]
    if types != list(of_unet["down_block_types"]):
        layers = [_depth(tensors, f"down_blocks.{number}") for number in range(len(types))]
        layers[-1] = _depth(tensors, "mid_block")
        found |= {"down_block_types": types, "transformer_layers_per_block": layers}
    return found


def _type_of(tensors: Tensors, block: int) -> str:
    has_attention = any(name.startswith(f"down_blocks.{block}.attentions.") for name in tensors)
    return "CrossAttnDownBlock2D" if has_attention else "DownBlock2D"


def _depth(tensors: Tensors, block: str) -> int:
    """Number of transformer layers in a block's attention."""
    found = (re.match(rf"{block}\.attentions\.0\.transformer_blocks\.(\d+)\.", name) for name in tensors)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def schedule_of(file: Path) -> dict[str, Any]:
    """What a checkpoint's file says of its schedule: tensors named v_pred and ztsnr mark some models of SDXL."""
    names = read_header(file)
    return {**({"prediction_type": "v_prediction"} if "v_pred" in names else {}),
            **({"rescale_betas_zero_snr": True} if "ztsnr" in names else {})}


def read_below(file: Path, prefixes: Sequence[str]) -> Tensors:
    """Read the tensors whose names begin with the first of these prefixes that any has, without it. {} if none has."""
    with safe_open(file, framework="pt") as content:
        names = list(content.keys())
        prefix = next((prefix for prefix in prefixes if any(name.startswith(prefix) for name in names)), None)
        return {} if prefix is None else {name.removeprefix(prefix): content.get_tensor(name)
                                          for name in names if name.startswith(prefix)}


def assemble(kind: Any, config: Mapping[str, Any], tensors: Tensors, dtype: torch.dtype, place: Path) -> Any:
    """Make a model of the class `kind` of these tensors. Raises ValueError if they are not exactly its own.

    place: What describes them, for the message.
    """
    return _fit(make_empty(kind, config), tensors, dtype, place)


def _fit(model: Any, tensors: Tensors, dtype: torch.dtype, place: Path) -> Any:
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    given = {name: tensor for name, tensor in tensors.items() if name in shapes or not _UNUSED.fullmatch(name)}
    wrong = {name for name in shapes.keys() | given.keys()
             if name not in given or given[name].shape != shapes.get(name)}
    if wrong:
        raise ValueError(f"weights do not fit {place}: {min(wrong)}")
    return fill(model, given, dtype).eval().requires_grad_(False)
