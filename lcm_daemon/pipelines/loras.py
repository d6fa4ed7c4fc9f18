"""LoRAs: merged into the weights for good, or live, each by its fader.

A live one changes the weights themselves, in place: graphs that were captured or compiled stay valid, and a frame
costs the same with it as without. Every change starts from the original weights, so nothing drifts, and at 0 they are
back bit by bit. Twice the memory for the layers that live LoRAs touch is the price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from lcm_daemon.pipelines.lora_file import Factors, Layer


def merge(factors: Factors, weight: float) -> None:
    """Add a LoRA to the weights of its layers, for good."""
    for layer, factor in factors.items():
        up, down = factor.up.to(layer.weight), factor.down.to(layer.weight)
        _write(layer, torch.addmm(_matrix(layer), up, down, alpha=weight))


@dataclass(frozen=True)
class _Part:
    """One layer under all live LoRAs that touch it, side by side.

    original: (outputs, inputs).   up: (outputs, ranks), down: (ranks, inputs), ranks being the sum of theirs.
    names: which they are.   shares: (ranks), the weight of each column; layers of the same names and ranks share it.
    """

    layer: Layer
    original: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    names: frozenset[str]
    shares: torch.Tensor

    def apply(self, weights: Mapping[str, float]) -> None:
        if any(weights[name] for name in self.names):
            _write(self.layer, torch.addmm(self.original, self.up * self.shares, self.down))
        else:
            _write(self.layer, self.original)  # to the bit: adding 0 would turn -0 to 0


class LiveLoras:
    """LoRAs whose weights move while the model runs. They start at 0.

    factors: by the LoRAs' names, for layers of these models and already of their final place and precision.
    """

    def __init__(self, unet: nn.Module, text_encoders: Iterable[nn.Module], factors: Mapping[str, Factors]) -> None:
        self.names = tuple(factors)
        self._weights = dict.fromkeys(factors, 0.0)
        self._shares: dict[tuple[tuple[str, int], ...], torch.Tensor] = {}
        self._unet = self._parts(unet, factors)
        self._text = [part for encoder in text_encoders for part in self._parts(encoder, factors)]

    def set(self, weights: Mapping[str, float]) -> bool:
        """Move to these weights, by name; names that are missing stay as they are, others mean nothing.

        Returns whether a text encoder has changed: prompts must be embedded anew then. A still fader costs nothing.
        """
        moved = {name for name in self.names if weights.get(name, self._weights[name]) != self._weights[name]}
        if not moved:
            return False
        self._weights.update({name: float(weights[name]) for name in moved})
        for key, shares in self._shares.items():
            columns = [self._weights[name] for name, rank in key for _ in range(rank)]
            shares.copy_(torch.tensor(columns))
        for part in (*self._unet, *self._text):
            if part.names & moved:
                part.apply(self._weights)
        return any(part.names & moved for part in self._text)

    def _parts(self, model: nn.Module, factors: Mapping[str, Factors]) -> list[_Part]:
        return [self._part(layer, own) for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)
                and (own := {name: lora for name, lora in factors.items() if layer in lora})]

    def _part(self, layer: Layer, factors: Mapping[str, Factors]) -> _Part:
        found = [lora[layer] for lora in factors.values()]
        key = tuple((name, len(factor.down)) for name, factor in zip(factors, found, strict=True))
        if key not in self._shares:
            self._shares[key] = layer.weight.new_zeros(sum(rank for _, rank in key))
        up, down = torch.cat([factor.up for factor in found], 1), torch.cat([factor.down for factor in found])
        return _Part(layer, _matrix(layer).clone(), up.to(layer.weight), down.to(layer.weight), frozenset(factors),
                     self._shares[key])


def _matrix(layer: Layer) -> torch.Tensor:
    """A layer's weight as (outputs, inputs), whatever its memory layout."""
    return layer.weight.detach().flatten(1)


def _write(layer: Layer, matrix: torch.Tensor) -> None:
    layer.weight.detach().copy_(matrix.view(layer.weight.shape))
