"""IP-Adapters in a UNet (Ye et al., arXiv:2308.06721): reads their files and puts them where attention is computed.

diffusers puts the adapters into the UNet. What differs here: images are embedded and projected outside of the UNet,
once, and the UNet is given each image's tokens twice, for the keys and for the values (`image_prompt`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.load_errors import UNREADABLE, first_line

AdapterWeights = Mapping[str, dict[str, torch.Tensor]]  # "image_proj" and "ip_adapter", as diffusers takes it

# Supported among the kinds that diffusers reads, by a key of the projection: plain, full face, plus.
_KINDS = ("proj.weight", "proj.3.weight", "latents")
_UNREADABLE = (*UNREADABLE, AttributeError)


def read_adapter(file: Path, label: str) -> AdapterWeights:
    """Read the weights of an adapter.

    Args:
        file: A .safetensors file.
        label: What error lines begin with: "recipe x: image prompt".

    Raises:
        RecipeError: The file cannot be read, or is not of a supported kind.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    try:
        for name, tensor in load_file(file).items():
            part, _, key = name.partition(".")
            parts[part][key] = tensor
        if _is_face_id(parts):
            raise ValueError("it is a FaceID adapter, which is not supported: it needs a face recognition model")
        if not any(kind in parts["image_proj"] for kind in _KINDS) or not parts["ip_adapter"]:
            raise ValueError("it is not a plain, plus or full-face IP-Adapter")
    except _UNREADABLE as error:
        raise RecipeError(f"{label}: the adapter {file} cannot be loaded: {first_line(error)}") from error
    return parts


def _is_face_id(parts: AdapterWeights) -> bool:
    """By the keys that diffusers tells the FaceID kinds by: their LoRAs, and their projections."""
    has_lora = any("_lora." in name for name in parts["ip_adapter"])
    is_plus = any(name.startswith("perceiver_resampler.") for name in parts["image_proj"])
    return has_lora or is_plus or {"proj.0.weight", "norm.weight"} <= parts["image_proj"].keys()


def is_plain(weights: AdapterWeights) -> bool:
    """Whether the adapter takes the pooled embedding of the image, not its patches."""
    return "proj.weight" in weights["image_proj"]


def check_widths(weights: AdapterWeights, encoder: Any, unet: Any, label: str) -> None:
    """Compare widths: adapters exist for two image encoders and several families, and are easily mixed up.

    Raises:
        RecipeError: The adapter is for another image encoder or another UNet.
    """
    projection, config = weights["image_proj"], encoder.config
    first = next(key for key in ("proj.weight", "proj.0.weight", "proj_in.weight") if key in projection)
    keys = next(tensor for name, tensor in weights["ip_adapter"].items() if name.endswith("to_k_ip.weight"))
    features = config.projection_dim if is_plain(weights) else config.hidden_size
    pairs = {
        "an image encoder of width": (projection[first].shape[-1], features),
        "a UNet of cross_attention_dim": (keys.shape[-1], unet.config.cross_attention_dim),
    }
    for what, (wanted, actual) in pairs.items():
        if wanted != actual:
            raise RecipeError(f"{label}: the adapter is for {what} {wanted}, not {actual}")


def install(unet: Any, weights: Sequence[AdapterWeights], label: str) -> list[Any]:
    """Put adapters into the UNet. An adapter that is there several times is there once in memory.

    The UNet then takes the tokens of all images in one tensor, one image after the other, as `set_lengths` says.

    Returns:
        The projection of each adapter, which is then called outside of the UNet.

    Raises:
        RecipeError: An adapter does not fit the UNet.
    """
    from diffusers.loaders import IPAdapterMixin  # imports much that other recipes do without

    holder = type("_Holder", (IPAdapterMixin,), {"unet": unet})()  # the least that diffusers requires of a pipeline
    count = len(weights)
    try:
        holder.load_ip_adapter([dict(each) for each in weights], subfolder=[""] * count, weight_name=[""] * count,
                               image_encoder_folder=None, low_cpu_mem_usage=False)
    except _UNREADABLE as error:
        raise RecipeError(f"{label}: the adapter does not fit the UNet: {first_line(error)}") from error
    firsts = [next(first for first, other in enumerate(weights) if other is each) for each in weights]
    for processor in unet.attn_processors.values():
        if hasattr(processor, "to_v_ip"):
            keys, values = ([layers[first] for first in firsts] for layers in (processor.to_k_ip, processor.to_v_ip))
            processor.to_k_ip = nn.ModuleList(_Half(layer, 0) for layer in keys)
            processor.to_v_ip = nn.ModuleList(_Half(layer, 1) for layer in values)
    layers = unet.encoder_hid_proj.image_projection_layers
    projections = [layers[first].eval().requires_grad_(False) for first in firsts]
    unet.encoder_hid_proj = _Split()
    unet.requires_grad_(False)
    return projections


def set_lengths(unet: Any, lengths: Sequence[int]) -> None:
    """Tell a UNet with adapters how many tokens each image has, those for keys and for values together."""
    unet.encoder_hid_proj.lengths = tuple(lengths)


class _Half(nn.Module):
    """A layer that reads the first or the second half of the tokens."""

    def __init__(self, layer: nn.Module, index: int) -> None:
        super().__init__()
        self.layer, self.index = layer, index

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(tokens.chunk(2, dim=-2)[self.index])
        return output


class _Split(nn.Module):
    """Takes the place of the projections in the UNet: splits the tokens, which are already projected, by image."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: tuple[int, ...] = ()

    def forward(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        return tokens if len(self.lengths) < 2 else list(torch.split(tokens[0], list(self.lengths), dim=2))
