"""LoRAs: merged into the weights for good, or live, each by its fader.

A live one changes the weights themselves, in place: graphs that were captured or compiled stay valid, and a frame
costs the same with it as without. Every change starts from the original weights, so nothing drifts, and at 0 they are
back bit by bit. Twice the memory for the layers that live LoRAs touch is the price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lcm_daemon.pipelines.lora_file import Factors, Layer


def merge(factors: Factors, weight: float) -> None:
    """Add a LoRA to the weights of its layers, for good."""
    for layer, factor in factors.items():
        up, down = (factor.up * weight).to(layer.weight), factor.down.to(layer.weight)
        _write(layer, _matrix(layer).clone(), up, down)


@dataclass(frozen=True)
class _Part:
    """One layer. original: (outputs, inputs).   down: (ranks, inputs), those of all its LoRAs, one below the other."""

    layer: Layer
    original: torch.Tensor
    down: torch.Tensor


class _Group:
    """Layers of one model that the same LoRAs touch with the same ranks: their columns are weighed in one go."""

    def __init__(self, ranks: Mapping[str, int], layers: Sequence[Layer], factors: Mapping[str, Factors]) -> None:
        self.names, self.layers = frozenset(ranks), tuple(layers)
        self._ranks, like = ranks, layers[0].weight
        ups = [torch.cat([factors[name][layer].up for name in ranks], dim=1) for layer in layers]
        self._rows = [len(up) for up in ups]
        self._up = torch.cat(ups).to(like)
        self._shares = like.new_zeros(sum(ranks.values()))
        self._parts = [_Part(layer, _matrix(layer).clone(),
                             torch.cat([factors[name][layer].down for name in ranks]).to(like)) for layer in layers]

    def apply(self, weights: Mapping[str, float]) -> None:
        if not any(weights[name] for name in self.names):
            for part in self._parts:  # to the bit: adding 0 would turn -0 to 0
                part.layer.weight.detach().copy_(part.original.view(part.layer.weight.shape))
            return
        self._shares.copy_(torch.tensor([weights[name] for name, rank in self._ranks.items() for _ in range(rank)]))
        scaled = torch.split(self._up * self._shares, self._rows)
        for part, up in zip(self._parts, scaled, strict=True):
            _write(part.layer, part.original, up, part.down)


class LiveLoras:
    """LoRAs whose weights move while the model runs. They start at 0.

    factors: by the LoRAs' names, for layers of these models, which are already of their final place and precision.
    """

    def __init__(self, unet: nn.Module, text_encoders: Iterable[nn.Module], factors: Mapping[str, Factors]) -> None:
        self.names = tuple(factors)
        self._weights = dict.fromkeys(factors, 0.0)
        self._unet = _groups(unet, factors)
        self._text = [group for encoder in text_encoders for group in _groups(encoder, factors)]

    @property
    def layers(self) -> frozenset[Layer]:
        """Those whose weights move."""
        return frozenset(layer for group in (*self._unet, *self._text) for layer in group.layers)

    def set(self, weights: Mapping[str, float]) -> bool:
        """Move to these weights, by name; names that are missing stay as they are, others mean nothing.

        Returns whether a text encoder has changed: prompts must be embedded anew then. A still fader costs nothing.
        """
        moved = {name for name in self.names if weights.get(name, self._weights[name]) != self._weights[name]}
        if not moved:
            return False
        self._weights.update({name: float(weights[name]) for name in moved})
        touched = [group for group in (*self._unet, *self._text) if group.names & moved]
        for group in touched:
            group.apply(self._weights)
        return any(group in self._text for group in touched)


def _groups(model: nn.Module, factors: Mapping[str, Factors]) -> list[_Group]:
    found: dict[tuple[tuple[str, int], ...], list[Layer]] = {}
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            ranks = tuple((name, len(lora[layer].down)) for name, lora in factors.items() if layer in lora)
            found.setdefault(ranks, []).append(layer)
    return [_Group(dict(ranks), layers, factors) for ranks, layers in found.items() if ranks]


def _matrix(layer: Layer) -> torch.Tensor:
    """A layer's weight as (outputs, inputs), whatever its memory layout."""
    return layer.weight.detach().flatten(1)


def _write(layer: Layer, original: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> None:
    """original + up @ down, into the layer's weight."""
    weight = layer.weight.detach()
    if weight.is_contiguous():
        torch.addmm(original, up, down, out=weight.flatten(1))
    else:
        weight.copy_(torch.addmm(original, up, down).view(weight.shape))
