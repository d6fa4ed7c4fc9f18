"""ControlNets: hold the image to the shapes of a control map (Zhang et al., arXiv:2302.05543).

The control map and its embedding are computed once per update, not once per step as in diffusers, and not at all for a
ControlNet of weight 0 or outside its start..end. Weights are tensors on the device, and the sums have the same address
from frame to frame, so that a captured or compiled UNet that reads them stays valid while faders move.

"guide" is the show's second source. A ControlNet makes its map from the input or from the guide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.pipelines.base import ControlValues, FrameValues
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.preprocessors import build
from lcm_daemon.pipelines.preprocessors.base import Preprocessor
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe

Residuals = tuple[torch.Tensor, ...]  # one for the output of each of the UNet's down blocks, the middle block's last
_PassKey = tuple[int, int]  # step, samples in the batch

# Keys that must be equal in the configs of a ControlNet and of the UNet that it was trained with.
_SHARED = ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim", "addition_embed_type")


class ControlNetPass(nn.Module):
    """One ControlNet at weight 1, for a map that is already embedded. An accelerator may compile this part."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        if not isinstance(network.controlnet_cond_embedding, _MapEmbedding):
            network.controlnet_cond_embedding = _MapEmbedding(network.controlnet_cond_embedding)
        self.network = network

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, embedding: torch.Tensor,
                pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        """Compute the residuals.

        Args:
            sample: (n, channels, h / 8, w / 8).
            timestep: (1,).
            states: (n, tokens, width).
            embedding: (1, width, h / 8, w / 8), the embedded control map.
            pooled: As SDXL's UNet takes it.
            ids: As SDXL's UNet takes it.
        """
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": ids}
        down, middle = self.network(sample, timestep, states, embedding, added_cond_kwargs=added, return_dict=False)
        return (*down, middle)

    def embed(self, control_map: torch.Tensor) -> torch.Tensor:
        """Embed a control map (1, 3, h, w) from 0 to 1 with the network's first layers: (1, width, h / 8, w / 8)."""
        embedding: torch.Tensor = self.network.controlnet_cond_embedding(self._reorder(control_map))
        return self._reorder(embedding)

    def _reorder(self, channels: torch.Tensor) -> torch.Tensor:
        """Flip the channels for a network trained on BGR. It flips its input itself, so they are flipped twice."""
        is_bgr = self.network.config.controlnet_conditioning_channel_order == "bgr"
        return channels.flip(1) if is_bgr else channels


class _MapEmbedding(nn.Module):
    """The first layers of a ControlNet. A map that is already embedded passes unchanged."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, control_map: torch.Tensor) -> torch.Tensor:
        if control_map.shape[1] != self.layers.conv_in.in_channels:
            return control_map
        embedding: torch.Tensor = self.layers(control_map)
        return embedding


class LiveControlNet:
    """One ControlNet of a recipe, its live values and its current map.

    Attributes:
        control: Its declaration in the recipe.
        weight: The current one.
        module: The pass on embedded maps.
        run: Calls the pass. May be replaced by a compiled one.
    """

    def __init__(self, control: ControlNet, network: Any, preprocessor: Preprocessor) -> None:
        self.control, self.weight = control, 0.0
        self.module = ControlNetPass(network)
        self.run: Callable[..., Residuals] = self.module
        self._preprocessor = preprocessor
        self._start, self._end, self._interval = 0.0, 1.0, 1
        self._has_map = False  # whether the embedding is that of a map which still counts
        self._embedding = torch.empty(0)
        self._cached: dict[_PassKey, Residuals] = {}
        self._cached_steps: dict[_PassKey, int] = {}  # number of steps that the cached residuals were made for

    def update(self, image: torch.Tensor, guide: torch.Tensor | None, values: ControlValues, frame: int) -> None:
        """Read the values, and make the control map if it is due in this frame."""
        self.weight, self._start, self._end = values.weight, values.start, values.end
        self._interval = values.interval
        source = guide if self.control.source == "guide" else image
        if self.weight <= 0.0:
            self._has_map = False  # a new map is made as soon as the weight is above 0 again
        elif source is not None and (not self._has_map or frame % self._interval == 0):
            self._embed(self._preprocessor.map(source))

    def _embed(self, control_map: torch.Tensor) -> None:
        embedding = self.module.embed(control_map)
        if self._embedding.shape != embedding.shape:
            self._embedding = torch.empty_like(embedding)
        self._embedding.copy_(embedding)
        self._has_map = True
        self._cached_steps.clear()

    def is_active(self, step: int, steps: int) -> bool:
        """Whether it is used in this step, by the rule of diffusers' controlnet_keep."""
        within = not (step / steps < self._start or (step + 1) / steps > self._end)
        return within and self._has_map

    def residuals(self, step: int, steps: int, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor,
                  pooled: torch.Tensor | None, ids: torch.Tensor | None) -> Residuals:
        """Residuals at weight 1. Between two updates of the map those of the last one are reused."""
        key = (step, len(sample))
        if self._cached_steps.get(key) == steps:
            return self._cached[key]
        if self._embedding.shape[-2:] != sample.shape[-2:]:
            raise RecipeError(f"controlnet {self.control.name}: it scales images down by another factor than the VAE")
        residuals = self.run(sample, timestep, states, self._embedding, pooled, ids)
        if self._interval > 1:
            self._cache(key, residuals)
            self._cached_steps[key] = steps
        return residuals

    def _cache(self, key: _PassKey, residuals: Residuals) -> None:
        """Store a copy: a captured pass overwrites its last result with the next one."""
        for own, each in zip(_memory_for(self._cached, key, residuals), residuals, strict=True):
            own.copy_(each)


class ControlNets:
    """All ControlNets of a recipe. size: render size, (width, height)."""

    def __init__(self, components: Components, recipe: Recipe, size: Size) -> None:
        self.controlnets = [_make(components, recipe, control) for control in recipe.controlnets]
        self._shape = (1, 3, size[1], size[0])
        self._weights = torch.zeros(len(self.controlnets), device=components.device, dtype=components.dtype)
        self._written: list[float] = []  # what `_weights` holds
        self._sums: dict[int, Residuals] = {}  # by the number of samples in the batch
        self._frame = 0

    @torch.inference_mode()
    def update(self, image: torch.Tensor, guide: torch.Tensor | None, values: FrameValues) -> None:
        """Update values and maps. Call once a frame, before its steps.

        Each ControlNet makes its map every `interval` frames; several of them do so in different frames. One whose
        source is the guide has no effect until the guide has sent a frame.

        image, guide: (1, 3, h, w) of the render size, from -1 to 1.
        """
        for source in (image, guide):
            if source is not None and source.shape != self._shape:
                raise ValueError(f"an image must have the shape {self._shape}, got {tuple(source.shape)}")
        for number, each in enumerate(self.controlnets):
            each.update(image, guide, values.controlnets[each.control.name], self._frame + number)
        self._frame += 1
        self._write_weights()

    def _write_weights(self) -> None:
        """Copy the weights to the device if one has changed."""
        weights = [each.weight for each in self.controlnets]
        if weights != self._written:
            self._weights.copy_(torch.tensor(weights))
            self._written = weights

    @torch.inference_mode()
    def residuals(self, step: int, steps: int, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor,
                  pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        """Compute what to add in the UNet at one step.

        Args:
            step: From 0.
            steps: Number of steps.
            sample: As the UNet gets it, in its dtype; with classifier-free guidance a batch of two.
            timestep: As the UNet gets it.
            states: As the UNet gets them.
            pooled: As the UNet gets it.
            ids: As the UNet gets them.

        Returns:
            Weighted sums, the middle block's last; () where no ControlNet is active. The next call overwrites them.
        """
        active = [number for number, each in enumerate(self.controlnets) if each.is_active(step, steps)]
        sums: Residuals = ()
        for number in active:
            residuals = self.controlnets[number].residuals(step, steps, sample, timestep, states, pooled, ids)
            sums = _memory_for(self._sums, len(sample), residuals)
            for total, each in zip(sums, residuals, strict=True):
                if number == active[0]:
                    torch.mul(each, self._weights[number], out=total)
                else:
                    total.addcmul_(each, self._weights[number])
        return sums


def _make(components: Components, recipe: Recipe, control: ControlNet) -> LiveControlNet:
    network = components.controlnets[control.name]
    for key in _SHARED:
        of_network, of_unet = getattr(network.config, key), getattr(components.unet.config, key)
        if of_network != of_unet:
            raise RecipeError(f"recipe {recipe.name}: controlnet {control.name} is for another family of models: "
                              f"its {key} is {of_network}, the UNet's {of_unet}")
    return LiveControlNet(control, network, build(control, recipe, components.device, components.dtype))


def _memory_for(memory: dict[Any, Residuals], key: Any, like: Residuals) -> Residuals:
    """Tensors for such residuals, always the same ones for a key."""
    if key not in memory:
        memory[key] = tuple(torch.empty_like(each) for each in like)
    return memory[key]
