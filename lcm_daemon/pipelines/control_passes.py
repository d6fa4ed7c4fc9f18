"""Control passes: what each kind of control network computes, at weight 1. `controlnet.py` weights the results.

- ControlNet (Zhang et al., arXiv:2302.05543): a copy of the UNet's first half, which runs in every step.
- ControlNet-Union (github.com/xinsir6/ControlNetPlus): one such network for several kinds of maps, one of its inputs.
- T2I-Adapter (Mou et al., arXiv:2302.08453): a small network that runs once a map, not once a step.

What only depends on the map is computed once a map, by `embed`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Size
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.registry import AUTO, MAP_KINDS, kind_of_map

Residuals = tuple[torch.Tensor, ...]
"""What the UNet adds. Of a ControlNet: one for the output of each of its down blocks, the middle block's last. Of a
T2I-Adapter: one for each of its levels."""


class ControlPass(nn.Module, ABC):
    """One control network at weight 1.

    Attributes:
        network: The network, a model of diffusers.
        is_adapter: Its residuals are those of a T2I-Adapter.
    """

    network: Any
    is_adapter: ClassVar[bool] = False

    @abstractmethod
    def embed(self, control_map: torch.Tensor) -> Residuals:
        """Compute what only depends on the map, (1, 3, h, w) from 0 to 1. The shapes are the same for every map."""

    @abstractmethod
    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, embedded: Residuals,
                pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        """Compute the residuals.

        Args:
            sample: (n, channels, h / 8, w / 8).
            timestep: (1,).
            states: (n, tokens, width).
            embedded: What `embed` returned.
            pooled: As SDXL's UNet takes it.
            ids: As SDXL's UNet takes it.
        """


class ControlNetPass(ControlPass):
    """A ControlNet."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        if not isinstance(network.controlnet_cond_embedding, _MapEmbedding):
            network.controlnet_cond_embedding = _MapEmbedding(network.controlnet_cond_embedding)
        self.network = network

    def embed(self, control_map: torch.Tensor) -> Residuals:
        embedding: torch.Tensor = self.network.controlnet_cond_embedding(self._reorder(control_map))
        return (self._reorder(embedding),)

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, embedded: Residuals,
                pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        down, middle = self.network(sample, timestep, states, embedded[0], added_cond_kwargs=_added(pooled, ids),
                                    return_dict=False)
        return (*down, middle)

    def _reorder(self, channels: torch.Tensor) -> torch.Tensor:
        """Flip the channels for a network trained on BGR. It flips its input itself, so they are flipped twice."""
        is_bgr = self.network.config.controlnet_conditioning_channel_order == "bgr"
        return channels.flip(1) if is_bgr else channels


class UnionPass(ControlPass):
    """A ControlNet-Union, for maps of one kind.

    kind: The kind's number, as of MAP_KINDS.
    """

    def __init__(self, network: Any, kind: int) -> None:
        super().__init__()
        if not isinstance(network.controlnet_cond_embedding, _MapEmbedding):
            network.controlnet_cond_embedding = _MapEmbedding(network.controlnet_cond_embedding)
        self.network, self._kind = network, kind
        kinds = torch.zeros(1, network.config.num_control_type)
        kinds[0, kind] = 1.0
        first = next(network.parameters())
        self.register_buffer("_kinds", kinds.to(first.device, first.dtype), persistent=False)

    def embed(self, control_map: torch.Tensor) -> Residuals:
        return (self.network.controlnet_cond_embedding(control_map),)

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, embedded: Residuals,
                pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        embedding = embedded[0].expand(len(sample), -1, -1, -1)
        kinds = self.get_buffer("_kinds").expand(len(sample), -1)
        down, middle = self.network(sample, timestep, states, [embedding], kinds, [self._kind],
                                    added_cond_kwargs=_added(pooled, ids), return_dict=False)
        return (*down, middle)


class AdapterPass(ControlPass):
    """A T2I-Adapter."""

    is_adapter = True

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self._is_grey = network.config.in_channels == 1  # those for edges and sketches of SD 1.x

    def fits(self, unet: Any) -> bool:
        """Whether its levels are those of a UNet with this config; those for SDXL have one for the middle block too."""
        kind, channels = self.network.config.adapter_type, self.network.config.channels
        levels, blocks = [*channels, *channels[-1:] * (kind == "light_adapter")], unet.block_out_channels
        is_xl = kind == "full_adapter_xl"
        return levels == [*blocks, *blocks[-1:] * is_xl] and is_xl == (unet.addition_embed_type == "text_time")

    def embed(self, control_map: torch.Tensor) -> Residuals:
        first = next(self.network.parameters())
        control_map = control_map.mean(1, keepdim=True) if self._is_grey else control_map
        return tuple(self.network(control_map.to(first.dtype)))

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, embedded: Residuals,
                pooled: torch.Tensor | None = None, ids: torch.Tensor | None = None) -> Residuals:
        return tuple(each.expand(len(sample), -1, -1, -1) for each in embedded)


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


def make_pass(control: ControlNet, network: Any, size: Size, where: str) -> ControlPass:
    """Make the pass for a network of any of the three kinds.

    Args:
        control: Its declaration in the recipe.
        network: A ControlNetModel, ControlNetUnionModel or T2IAdapter.
        size: Render size, (width, height).
        where: Begins the message of an error.

    Raises:
        RecipeError: A ControlNet-Union does not know this kind of map, or nothing tells the kind; or a T2I-Adapter
            cannot work at this size.
    """
    kind = type(network).__name__
    if kind == "T2IAdapter":
        step = network.downscale_factor
        if any(side % step for side in size):
            raise RecipeError(f"{where}: a T2I-Adapter of this kind needs sizes in multiples of {step} pixels, not "
                              f"{size[0]}x{size[1]}")
        return AdapterPass(network)
    return UnionPass(network, _number_of_kind(control, network, where)) if kind == "ControlNetUnionModel" else \
        ControlNetPass(network)


def number_of_map(control: ControlNet) -> int:
    """What a ControlNet-Union calls the map that a recipe's ControlNet makes: the number as of MAP_KINDS."""
    return MAP_KINDS[_kind(control)]


def _kind(control: ControlNet) -> str:
    return kind_of_map(control.preprocessor) if control.map == AUTO else control.map


def _number_of_kind(control: ControlNet, network: Any, where: str) -> int:
    known = [name for name, number in MAP_KINDS.items() if number < network.config.num_control_type]
    name = _kind(control)
    if name not in known:
        wrong = f"it does not know maps of the kind {name}" if name else "it has to know what the map is"
        raise RecipeError(f"{where}: a ControlNet-Union: {wrong}; say map: {', '.join(known)}")
    return MAP_KINDS[name]


def _added(pooled: torch.Tensor | None, ids: torch.Tensor | None) -> dict[str, torch.Tensor | None] | None:
    return None if pooled is None else {"text_embeds": pooled, "time_ids": ids}
