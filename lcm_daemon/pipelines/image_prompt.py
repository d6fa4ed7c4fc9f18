"""Image prompts: a picture beside the words, by an IP-Adapter (Ye et al., arXiv:2308.06721).

diffusers puts the adapter into the UNet. What differs here: the picture is embedded and projected once, not in every
pass, and the weight comes with it. Attention to the picture, softmax(Q K) V, is linear in its values V, and these in
the tokens that they are made of; so the UNet is given the tokens twice, for the keys as they are and for the values
times the weight. A captured, compiled or exported denoiser then follows the fader like any other input.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.loaders import IPAdapterMixin
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.preprocessors.intake import Normal, square
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.recipe import Recipe

INTERVAL = 8  # frames from one look at the live input to the next: the image encoder costs as much as a small UNet
PARAMETER = "image_prompt"

Adapter = Mapping[str, dict[str, torch.Tensor]]  # "image_proj" and "ip_adapter", as diffusers takes it

# Of the kinds that diffusers reads, by a key of the projection: plain, full face, plus. The FaceID kinds are not among
# them: they take what a face recognition makes.
_KINDS = ("proj.weight", "proj.3.weight", "latents")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, AttributeError)


def read_adapter(recipe: Recipe) -> Adapter:
    """The weights of the recipe's adapter; raises RecipeError."""
    file = locate(recipe).adapter or Path()
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    try:
        for name, tensor in load_file(file).items():
            part, _, key = name.partition(".")
            parts[part][key] = tensor
        if not any(kind in parts["image_proj"] for kind in _KINDS) or not parts["ip_adapter"]:
            raise ValueError("it is not a plain, plus or full-face IP-Adapter")
    except _UNREADABLE as error:
        raise RecipeError(_complaint(recipe, f"the adapter {file} cannot be loaded", error)) from error
    return parts


class ImagePrompt:
    """The adapter in the UNet of `parts`, and the picture that it shows it.

    recipe.image_prompt.image: a file, or "" for the live input, which is looked at every INTERVAL frames.
    Raises RecipeError where the adapter, the image encoder and the UNet do not belong together.
    """

    def __init__(self, parts: Components, recipe: Recipe, adapter: Adapter) -> None:
        assert recipe.image_prompt is not None
        self._encoder, self._dtype = parts.image_encoder, parts.dtype
        self._side = int(parts.image_encoder.config.image_size)
        self._normal = Normal(vars(parts.feature_extractor), parts.device)
        self._plain = "proj.weight" in adapter["image_proj"]
        _check(parts, recipe, adapter, self._plain)
        self._projection = _install(parts.unet, adapter, recipe)
        self._tokens = self._blank(parts.device)
        self._prompt = torch.cat([self._tokens, self._tokens], dim=2)
        self._weight, self._frame = 1.0, 0
        self._live = not recipe.image_prompt.image
        if not self._live:
            picture = read_picture(recipe.image_prompt.image, recipe)
            self._see(picture.to(parts.device))

    @torch.inference_mode()
    def look(self, picture: torch.Tensor, values: Values) -> torch.Tensor:
        """Once a frame: the prompt for the UNet after its negative, always in the same tensor.

        (2, 1, 2 * tokens, width): for the keys, then for the values.
        picture: (1, 3, h, w) from -1 to 1, the live input, of which the middle square is seen.
        """
        weight = float(values[PARAMETER])
        if self._live and weight > 0.0:
            if self._frame % INTERVAL == 0:
                self._see(picture)
            self._frame += 1
        if weight != self._weight:
            self._weight = weight
            self._write()
        return self._prompt

    @torch.inference_mode()
    def _blank(self, device: torch.device) -> torch.Tensor:
        """The tokens of no picture, twice: as the negative, and where the picture's will be.

        As diffusers has it, an embedding of zeros, or of the kinds that look at patches, those of black ones.
        """
        features = self._features(torch.zeros(1, 3, self._side, self._side, device=device, dtype=self._dtype))
        negative = self._projection(torch.zeros_like(features) if self._plain else features)
        return torch.stack([negative, negative])

    @torch.inference_mode()
    def _see(self, picture: torch.Tensor) -> None:
        pixels = self._normal.take(square(picture, self._side), self._dtype)
        self._tokens[1].copy_(self._projection(self._features(pixels)))
        self._write()

    def _write(self) -> None:
        keys, values = self._prompt.chunk(2, dim=2)
        keys.copy_(self._tokens)
        torch.mul(self._tokens, self._weight, out=values)

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the kind of adapter takes: the pooled embedding (1, width), or the last layer but one's patches."""
        if self._plain:
            pooled: torch.Tensor = self._encoder(pixels).image_embeds
            return pooled
        patches: torch.Tensor = self._encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return patches


def read_picture(file: str, recipe: Recipe) -> torch.Tensor:
    """A picture file as (1, 3, h, w) from -1 to 1."""
    try:
        with Image.open(file) as image:
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise RecipeError(_complaint(recipe, f"the picture {file} cannot be read", error)) from error
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(127.5).sub_(1.0)


def _check(parts: Components, recipe: Recipe, adapter: Adapter, plain: bool) -> None:
    """Adapters come for two image encoders and several families, and are easily given the wrong one."""
    projection, config = adapter["image_proj"], parts.image_encoder.config
    first = next(key for key in ("proj.weight", "proj.0.weight", "proj_in.weight") if key in projection)
    keys = next(tensor for name, tensor in adapter["ip_adapter"].items() if name.endswith("to_k_ip.weight"))
    features = config.projection_dim if plain else config.hidden_size
    pairs = {
        "an image encoder of width": (projection[first].shape[-1], features),
        "a UNet of cross_attention_dim": (keys.shape[-1], parts.unet.config.cross_attention_dim),
    }
    for what, (wanted, has) in pairs.items():
        if wanted != has:
            raise RecipeError(f"recipe {recipe.name}: image prompt: the adapter is for {what} {wanted}, not {has}")


def _install(unet: Any, adapter: Adapter, recipe: Recipe) -> Any:
    """Put the adapter into the UNet, and give the projection, which is outside of it from here on."""
    try:
        _Holder(unet).load_ip_adapter(dict(adapter), subfolder="", weight_name="", image_encoder_folder=None,
                                      low_cpu_mem_usage=False)
    except _UNREADABLE as error:
        raise RecipeError(_complaint(recipe, "the adapter does not fit the UNet", error)) from error
    for processor in unet.attn_processors.values():
        if hasattr(processor, "to_v_ip"):
            processor.to_k_ip = nn.ModuleList(_Half(layer, 0) for layer in processor.to_k_ip)
            processor.to_v_ip = nn.ModuleList(_Half(layer, 1) for layer in processor.to_v_ip)
    projection = unet.encoder_hid_proj.image_projection_layers[0].eval().requires_grad_(False)
    unet.encoder_hid_proj = _Through()
    unet.requires_grad_(False)
    return projection


class _Holder(IPAdapterMixin):  # type: ignore[misc]
    """The least that diffusers' loading asks of a pipeline."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet


class _Half(nn.Module):
    """A layer for the first or the second half of the tokens."""

    def __init__(self, layer: nn.Module, index: int) -> None:
        super().__init__()
        self.layer, self.index = layer, index

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.layer(tokens.chunk(2, dim=-2)[self.index])
        return made


class _Through(nn.Module):
    """In the UNet's place for the projection: the tokens come projected."""

    def forward(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        return tokens


def _complaint(recipe: Recipe, what: str, error: BaseException) -> str:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return f"recipe {recipe.name}: image prompt: {what}: {reason[0]:.200}"
