"""pix2pix-turbo: SD-Turbo that was trained to make an image of a map, in one step (Parmar et al., arXiv:2403.12036).

The map, such as edges, takes the place of the image. Three things differ from SD-Turbo: LoRAs are part of the UNet and
of the VAE, what the encoder computes is also handed to the decoder (the skip connections of section 3.2), and the UNet
sees the latents without noise. Weights are published as pickles (github.com/GaParmar/img2img-turbo), which are not
read here; examples/models has the command that converts them. Their names in the file are those in the pickle, below
"unet." and "vae.". A model trained for variations ("stochastic") is used as at its r = 1: it follows the map, and draws
no noise.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.preprocessors import build
from lcm_daemon.pipelines.preprocessors.base import Preprocessor
from lcm_daemon.pipelines.stable_diffusion import StableDiffusion
from lcm_daemon.pipelines.vae import VaeCodec
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import Components

ALPHA = 8.0  # of the LoRAs: peft's default, which the original leaves; their scale is ALPHA / rank
_FACTOR = re.compile(r"(.+)\.lora_([AB])\.(?:\w+\.)?weight")
_SKIP = re.compile(r"decoder\.skip_conv_(\d)\.")
_TWIN = "conv_in.conv_in_pretrained."  # the first layer as it was, which counts for nothing at r = 1

Tensors = Mapping[str, Tensor]


class Pix2PixTurbo(StableDiffusion):
    """The parts of SD-Turbo with the weights of a pix2pix-turbo."""

    def finish(self, recipe: Recipe, unet: Any, vae: Any, file: Path) -> Any:
        assert recipe.pix2pix is not None  # its file was located
        if type(vae).__name__ != "AutoencoderKL":
            raise RecipeError(f"recipe {recipe.name}: pix2pix-turbo needs the model's full VAE, not a tiny one")
        tensors = load_file(file)
        parts = {part: {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
                 for part in ("unet.", "vae.")}
        if sum(map(len, parts.values())) != len(tensors) or not all(parts.values()):
            raise ValueError("its names do not begin with unet. and vae.; examples/models says how to convert it")
        first = next(unet.parameters())
        control = ControlNet("pix2pix", "", recipe.pix2pix.preprocessor, recipe.pix2pix.detector)
        skips = make_skips(vae).to(first.device, next(vae.parameters()).dtype)
        apply_weights(unet, _as_first_layer(parts["unet."]))
        apply_weights(nn.ModuleDict({"vae": vae, "skips": skips}), _in_modules(parts["vae."]))
        return SkipVae(vae, skips, build(control, recipe, first.device, first.dtype))

    def make_codec(self, vae: Any) -> VaeCodec:
        return SkipCodec(vae)

    def fold(self, components: Components, shape: tuple[int, int, int]) -> None:
        """Nothing is folded: the halves of this VAE are run block by block."""


class SkipVae(nn.Module):
    """A full VAE with skip connections, and what makes the map of an image."""

    def __init__(self, vae: Any, skips: nn.ModuleList, preprocessor: Preprocessor) -> None:
        super().__init__()
        self.vae, self.skips, self.preprocessor = vae, skips, preprocessor
        self.memory: list[Tensor] = []  # what the encoder has handed over, always at the same address

    @property
    def config(self) -> Any:
        return self.vae.config


class SkipEncoder(nn.Module):
    """Maps images (1, 3, H, W) from -1 to 1 to the latents (1, channels, H / 8, W / 8) of their map, from 0 to 1."""

    def __init__(self, vae: SkipVae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, image: Tensor) -> Tensor:
        whole, dtype = self.vae.vae, next(self.vae.skips.parameters()).dtype
        encoder, handed = whole.encoder, []
        hidden = encoder.conv_in(self.vae.preprocessor.map(image).to(dtype))
        for block in encoder.down_blocks:
            handed.append(hidden)
            hidden = block(hidden)
        self._hand_over(handed)
        hidden = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(hidden))))
        mean: Tensor = whole.quant_conv(hidden).chunk(2, dim=1)[0]
        latents: Tensor = mean * whole.config.scaling_factor
        return latents

    def _hand_over(self, handed: list[Tensor]) -> None:
        memory = self.vae.memory
        if [one.shape for one in memory] != [one.shape for one in handed]:
            memory[:] = map(torch.empty_like, handed)
        for own, one in zip(memory, handed, strict=True):
            own.copy_(one)


class SkipDecoder(nn.Module):
    """Maps latents (1, channels, H / 8, W / 8) and what the encoder has handed over to images (1, 3, H, W)."""

    def __init__(self, vae: SkipVae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        whole, dtype = self.vae.vae, next(self.vae.skips.parameters()).dtype
        decoder = whole.decoder
        hidden = whole.post_quant_conv((latents / whole.config.scaling_factor).to(dtype))
        hidden = decoder.mid_block(decoder.conv_in(hidden))
        memory: list[Tensor | None] = [*self.vae.memory[::-1]] or [None] * len(self.vae.skips)
        for block, skip, handed in zip(decoder.up_blocks, self.vae.skips, memory, strict=True):
            hidden = block(hidden if handed is None else hidden + skip(handed))
        image: Tensor = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(hidden)))
        return image


class SkipCodec(VaeCodec):
    """Both halves of a VAE with skip connections."""

    kinds = SkipEncoder, SkipDecoder

    def __init__(self, vae: SkipVae) -> None:
        super().__init__(vae)
        self._memory = vae.memory

    def forget(self) -> None:
        for one in self._memory:
            one.zero_()


def make_skips(vae: Any) -> nn.ModuleList:
    """The layers between the halves: from each down block's input, the last one first, to the up block's input."""
    blocks = vae.config.block_out_channels
    given = [blocks[0], *blocks[:-1]][::-1]
    taken = [blocks[-1], *blocks[:0:-1]]
    return nn.ModuleList(nn.Conv2d(*sides, 1, bias=False) for sides in zip(given, taken, strict=True))


def apply_weights(module: nn.Module, tensors: Tensors) -> None:
    """Set the weights that a file has whole, and add those that it has as the factors of LoRAs.

    Raises:
        ValueError: A tensor does not fit.
    """
    factors: dict[str, dict[str, Tensor]] = defaultdict(dict)
    whole = dict(module.named_parameters())
    for name, tensor in tensors.items():
        if match := _FACTOR.fullmatch(name):
            factors[match[1]][match[2]] = tensor
        else:
            _fitting(whole, name.replace(".base_layer.", "."), tensor.shape).data.copy_(tensor)
    for layer, pair in factors.items():
        if pair.keys() != {"A", "B"}:
            raise ValueError(f"a factor of the LoRA of {layer} is missing")
        down, up = pair["A"].float(), pair["B"].float()
        change = up.flatten(1) @ down.flatten(1) * (ALPHA / len(down))
        weight = whole.get(f"{layer}.weight")
        shape = () if weight is None or weight.numel() != change.numel() else weight.shape
        weight = _fitting(whole, f"{layer}.weight", shape or change.shape)
        weight.data.add_(change.view(weight.shape).to(weight.device, weight.dtype))


def _fitting(parameters: Mapping[str, nn.Parameter], name: str, shape: Any) -> nn.Parameter:
    if name not in parameters:
        raise ValueError(f"the model has no {name}; pix2pix-turbo is made of SD-Turbo")
    if parameters[name].shape != shape:
        raise ValueError(f"{name} has another size; pix2pix-turbo is made of SD-Turbo")
    return parameters[name]


def _as_first_layer(tensors: Tensors) -> dict[str, Tensor]:
    """The UNet's tensors; of the two first layers of a model for variations, the trained one."""
    return {name.replace("conv_in.conv_in_curr.", "conv_in."): tensor for name, tensor in tensors.items()
            if not name.startswith(_TWIN)}


def _in_modules(tensors: Tensors) -> dict[str, Tensor]:
    """The VAE's tensors, by the names of its layers and of those between its halves, which count from 1 in the file."""
    return {_SKIP.sub(lambda match: f"skips.{int(match[1]) - 1}.", name) if _SKIP.match(name) else f"vae.{name}": tensor
            for name, tensor in tensors.items()}
