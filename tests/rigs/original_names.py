"""Tiny models in one file, with the names of the original implementations: what diffusers' conversions undo.

The rules are those of the networks themselves: CompVis' `UNetModel` and `Encoder`/`Decoder`, and OpenCLIP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from safetensors.torch import load_file, save_file

Tensors = dict[str, Any]

_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
           "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
_OUTSIDE = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
            "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
            "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """A UNet's tensors by their original names, without the prefix of a checkpoint."""
    return {_unet_name(name, config): tensor for name, tensor in tensors.items()}


def _unet_name(name: str, config: Mapping[str, Any]) -> str:
    layer, _, kind = name.rpartition(".")
    per_block = int(config["layers_per_block"]) + 1
    if layer in _OUTSIDE:
        return f"{_OUTSIDE[layer]}.{kind}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name):
        number = 2 * int(match[2]) + (match[1] == "attentions")
        return f"middle_block.{number}.{_inside(match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
    assert match, name
    block, part, number, rest = int(match[2]), match[3], int(match[4]), match[5]
    if part == "downsamplers":
        return f"input_blocks.{per_block * (block + 1)}.0.op.{kind}"
    if part == "upsamplers":
        position = 2 if config["up_block_types"][block] == "CrossAttnUpBlock2D" else 1
        return f"output_blocks.{per_block * (block + 1) - 1}.{position}.{rest}"
    side, first = ("input", 1) if match[1] == "down" else ("output", 0)
    return f"{side}_blocks.{per_block * block + number + first}.{int(part == 'attentions')}.{_inside(rest)}"


def _inside(rest: str) -> str:
    layer, _, kind = rest.rpartition(".")
    return f"{_RESNET.get(layer, layer)}.{kind}"


def controlnet(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:
    """A ControlNet's tensors by their original names, with their prefix."""
    found: Tensors = {}
    hints = len([name for name in tensors if re.fullmatch(r"controlnet_cond_embedding\.blocks\.\d+\.weight", name)])
    for name, tensor in tensors.items():
        if match := re.fullmatch(r"controlnet_cond_embedding\.(?:conv_(in|out)|blocks\.(\d+))\.(\w+)", name):
            number = {"in": 0, "out": 2 * hints + 2}.get(match[1] or "", 2 * int(match[2] or 0) + 2)
            new = f"input_hint_block.{number}.{match[3]}"
        elif match := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(\w+)", name):
            new = f"zero_convs.{match[1]}.0.{match[2]}"
        elif name.startswith("controlnet_mid_block."):
            new = f"middle_block_out.0.{name.rpartition('.')[2]}"
        else:
            new = _unet_name(name, config)
        found[f"control_model.{new}"] = tensor
    return found


def vae(tensors: Tensors, blocks: int) -> Tensors:
    """The tensors of a full VAE by their original names, without the prefix of a checkpoint."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        new = _vae_name(name, blocks)
        is_matrix = re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight", new)
        found[new] = tensor[:, :, None, None].contiguous() if is_matrix else tensor
    return found


def _vae_name(name: str, blocks: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    if match := re.fullmatch(r"(.+)mid_block\.attentions\.0\.(.+)\.(\w+)", name):
        return f"{match[1]}mid.attn_1.{_ATTENTION[match[2]]}.{match[3]}"
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda match: f"up.{blocks - 1 - int(match[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda match: f"up.{blocks - 1 - int(match[1])}.upsample", name)


def clip(tensors: Tensors) -> Tensors:
    """The tensors of a CLIP text encoder by the names that transformers gave them until version 5.6."""
    return {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}


def open_clip(tensors: Tensors) -> Tensors:
    """The same by OpenCLIP's names: the three matrices of an attention are one."""
    bare = {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    names = {"embeddings.token_embedding.weight": "token_embedding.weight",
             "embeddings.position_embedding.weight": "positional_embedding",
             "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias"}
    found: Tensors = {new: bare[old] for old, new in names.items()}
    if "text_projection.weight" in bare:
        found["text_projection"] = bare["text_projection.weight"].T.contiguous()
    for name, tensor in bare.items():
        if match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", name):
            layer, part = f"transformer.resblocks.{match[1]}.", match[2]
            for old, new in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("fc1", "c_fc"), ("fc2", "c_proj")):
                part = part.replace(old, new)
            if q := re.fullmatch(r"self_attn\.q_proj\.(\w+)", part):
                parts = [bare[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
                found[f"{layer}attn.in_proj_{q[1]}"] = torch.cat(parts)
            elif not re.match(r"self_attn\.[kv]_proj", part):
                found[layer + part.replace("self_attn.", "attn.")] = tensor
    return found


def write_checkpoint(file: Path, model: Path, configs: Mapping[str, Mapping[str, Any]], half: bool = False,
                     second: bool = False, open_text: bool = False, parts: Sequence[str] = ("text", "vae")) -> Path:
    """Write a diffusers folder as one file.

    Args:
        file: Where to.
        model: The folder.
        configs: The content of the config.json files of its "unet" and "vae".
        half: In float16.
        second: As Stable Diffusion XL, with two text encoders.
        open_text: As Stable Diffusion 2.x, with OpenCLIP's text encoder and a last layer that is not used.
        parts: What it has beside the UNet.
    """
    layers = unet(_load(model / "unet"), configs["unet"])
    found = {f"model.diffusion_model.{name}": tensor for name, tensor in layers.items()}
    if "vae" in parts:
        blocks = len(configs["vae"]["block_out_channels"])
        found |= {f"first_stage_model.{name}": tensor for name, tensor in vae(_load(model / "vae"), blocks).items()}
    if "text" in parts:
        found |= _text(model, second, open_text)
    found = {name: (tensor.half() if half else tensor).contiguous() for name, tensor in found.items()}
    found |= {"alphas_cumprod": torch.ones(4), "model_ema.decay": torch.ones(())}
    save_file(found, file, metadata={"format": "pt"})
    return file


def _text(model: Path, second: bool, open_text: bool) -> Tensors:
    first = _load(model / "text_encoder")
    if open_text:
        whole = open_clip(first)
        last = {name.replace("resblocks.1.", "resblocks.2."): tensor + 1 for name, tensor in whole.items()
                if ".resblocks.1." in name}
        return {f"cond_stage_model.model.{name}": tensor
                for name, tensor in {**whole, **last, "logit_scale": torch.ones(())}.items()}
    prefix = "conditioner.embedders.0.transformer." if second else "cond_stage_model.transformer."
    found = {prefix + name: tensor for name, tensor in clip(first).items()}
    found[f"{prefix}text_model.embeddings.position_ids"] = torch.arange(16)[None]
    if second:
        found |= {f"conditioner.embedders.1.model.{name}": tensor
                  for name, tensor in open_clip(_load(model / "text_encoder_2")).items()}
    return found


def _load(folder: Path) -> Tensors:
    (file,) = folder.glob("*.safetensors")
    return dict(load_file(file))
