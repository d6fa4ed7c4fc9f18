"""Guides: ControlNets that hold the picture to the shapes of a map (Zhang et al., arXiv:2302.05543).

What is done once: the map and its embedding once a look, not once a step as in diffusers; nothing at all for a guide of
weight 0 or outside its start..end. Weights are tensors on the device, and the sums lie in the same memory from frame to
frame, so that a captured or compiled denoiser that reads them stays valid while faders move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.preprocessors import build
from lcm_daemon.pipelines.preprocessors.base import Preprocessor
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe

Residuals = tuple[torch.Tensor, ...]  # one for each of the UNet's down blocks' outputs, and last the middle block's
Place = tuple[int, int]  # step, pictures in the batch

# What a ControlNet must share with the UNet that it was trained beside, by the key in both their configs.
_SHARED = ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type")


class ControlPass(nn.Module):
    """One ControlNet at weight 1, for a map that is embedded already. The part that an accelerator may compile."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        if not isinstance(network.controlnet_cond_embedding, _Embedding):
            network.controlnet_cond_embedding = _Embedding(network.controlnet_cond_embedding)
        self.network = network

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, embedding: torch.Tensor,
                pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        """sample (n, channels, h / 8, w / 8), timestep (1,), states (n, tokens, width), embedding (1, ...) of the map;
        pooled and ids as SDXL's UNet takes them."""
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": ids}
        down, middle = self.network(sample, timestep, states, embedding, added_cond_kwargs=added, return_dict=False)
        return (*down, middle)

    def embed(self, chart: torch.Tensor) -> torch.Tensor:
        """A map (1, 3, h, w) from 0 to 1 as the network's first layers see it, (1, width, h / 8, w / 8)."""
        embedding: torch.Tensor = self.network.controlnet_cond_embedding(self._ordered(chart))
        return self._ordered(embedding)

    def _ordered(self, channels: torch.Tensor) -> torch.Tensor:
        """The network turns the channels of what it is given where it was trained on BGR; so they are turned twice."""
        turned = self.network.config.controlnet_conditioning_channel_order == "bgr"
        return channels.flip(1) if turned else channels


class _Embedding(nn.Module):
    """The first layers for a map; what they have made already goes through as it is."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, chart: torch.Tensor) -> torch.Tensor:
        if chart.shape[1] != self.layers.conv_in.in_channels:
            return chart
        embedding: torch.Tensor = self.layers(chart)
        return embedding


class Guide:
    """One ControlNet of a recipe and what it last saw. run: its pass, which may be replaced by a compiled one."""

    def __init__(self, control: ControlNet, network: Any, preprocessor: Preprocessor) -> None:
        self.control, self.weight = control, 0.0
        self._pass = ControlPass(network)
        self.run: Callable[..., Residuals] = self._pass
        self._preprocessor, self._path = preprocessor, f"control/{control.name}"
        self._start, self._end, self._interval = 0.0, 1.0, 1
        self._sees = False  # whether the embedding is that of a map which still counts
        self._embedding = torch.empty(0)
        self._kept: dict[Place, Residuals] = {}
        self._fresh: dict[Place, int] = {}  # the number of steps that what is kept was made for

    @property
    def part(self) -> ControlPass:
        return self._pass

    def look(self, picture: torch.Tensor, guide: torch.Tensor | None, values: Values, frame: int) -> None:
        """Read the faders, and make the map where it is due."""
        self.weight = float(values[f"{self._path}/weight"])
        self._start, self._end = float(values[f"{self._path}/start"]), float(values[f"{self._path}/end"])
        self._interval = int(values[f"{self._path}/interval"])
        source = guide if self.control.source == "guide" else picture
        if self.weight <= 0.0:
            self._sees = False  # it looks at once when it comes back
        elif source is not None and (not self._sees or frame % self._interval == 0):
            self._see(self._preprocessor.map(source))

    def _see(self, chart: torch.Tensor) -> None:
        embedding = self._pass.embed(chart)
        if self._embedding.shape != embedding.shape:
            self._embedding = torch.empty_like(embedding)
        self._embedding.copy_(embedding)
        self._sees = True
        self._fresh.clear()

    def acts(self, step: int, steps: int) -> bool:
        """Whether it has a say in this step, by the rule of diffusers' controlnet_keep."""
        within = not (step / steps < self._start or (step + 1) / steps > self._end)
        return within and self._sees

    def residuals(self, step: int, steps: int, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor,
                  pooled: torch.Tensor | None, ids: torch.Tensor | None) -> Residuals:
        """At weight 1; between two looks those of the last one."""
        place = (step, len(sample))
        if self._fresh.get(place) == steps:
            return self._kept[place]
        made = self._made(sample, timestep, states, pooled, ids)
        if self._interval > 1:
            self._keep(place, made)
            self._fresh[place] = steps
        return made

    def _made(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, pooled: torch.Tensor | None,
              ids: torch.Tensor | None) -> Residuals:
        if self._embedding.shape[-2:] != sample.shape[-2:]:
            raise RecipeError(f"controlnet {self.control.name}: it divides a picture by another factor than the VAE")
        return self.run(sample, timestep, states, self._embedding, pooled, ids)

    def _keep(self, place: Place, made: Residuals) -> None:
        """A copy: a captured pass writes its next result over the last."""
        kept = _room(self._kept, place, made)
        for own, each in zip(kept, made, strict=True):
            own.copy_(each)


class Guides:
    """All ControlNets of a recipe. size: (width, height) of rendering."""

    def __init__(self, parts: Components, recipe: Recipe, size: Size) -> None:
        self.guides = [self._guide(parts, recipe, control) for control in recipe.controlnets]
        self._shape = (1, 3, size[1], size[0])
        self._weights = torch.zeros(len(self.guides), device=parts.device, dtype=parts.dtype)
        self._staged: list[float] = []
        self._sums: dict[int, Residuals] = {}  # by the pictures in the batch
        self._frame = 0

    @staticmethod
    def _guide(parts: Components, recipe: Recipe, control: ControlNet) -> Guide:
        network = parts.controlnets[control.name]
        for key in _SHARED:
            of_network, of_unet = getattr(network.config, key), getattr(parts.unet.config, key)
            if of_network != of_unet:
                raise RecipeError(f"recipe {recipe.name}: controlnet {control.name} is for another family of models: "
                                  f"its {key} is {of_network}, the UNet's {of_unet}")
        return Guide(control, network, build(control, recipe, parts.device, parts.dtype))

    @torch.inference_mode()
    def look(self, picture: torch.Tensor, guide: torch.Tensor | None, values: Values) -> None:
        """Once a frame, before its steps. picture, guide: (1, 3, h, w) of the render size from -1 to 1.

        A map is made every `interval` frames, of several guides in turn. One whose source is the show's second source
        has no say until that source has sent a picture.
        """
        for given in (picture, guide):
            if given is not None and given.shape != self._shape:
                raise ValueError(f"a picture is {self._shape}, got {tuple(given.shape)}")
        for number, each in enumerate(self.guides):
            each.look(picture, guide, values, self._frame + number)
        self._frame += 1
        self._write_weights()

    def _write_weights(self) -> None:
        """To the device, where one has moved."""
        weights = [each.weight for each in self.guides]
        if weights != self._staged:
            self._weights.copy_(torch.tensor(weights))
            self._staged = weights

    @torch.inference_mode()
    def residuals(self, step: int, steps: int, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor,
                  pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        """What to add in the UNet at one step of `steps`, counted from 0: weighted sums, () where no guide acts.

        sample, timestep, states, pooled, ids: as the UNet gets them, in its dtype; with classifier-free guidance the
        batch of two. The last of the sums belongs to the middle block. They are written over by the next call.
        """
        acting = [number for number, each in enumerate(self.guides) if each.acts(step, steps)]
        sums: Residuals = ()
        for number in acting:
            made = self.guides[number].residuals(step, steps, sample, timestep, states, pooled, ids)
            sums = _room(self._sums, len(sample), made)
            for total, each in zip(sums, made, strict=True):
                if number == acting[0]:
                    torch.mul(each, self._weights[number], out=total)
                else:
                    total.addcmul_(each, self._weights[number])
        return sums


def _room(rooms: dict[Any, Residuals], key: Any, like: Residuals) -> Residuals:
    """Memory for such residuals, the same for a key every time."""
    if key not in rooms:
        rooms[key] = tuple(torch.empty_like(each) for each in like)
    return rooms[key]
