"""LoRAs: merged into the weights at load, or live, each with a fader.

A live LoRA changes the weights in place. Captured or compiled graphs stay valid, and a frame costs the same with it as
without. Every change starts from the original weights, so nothing drifts, and at 0 they are restored bit by bit. The
price is twice the memory for the layers that live LoRAs change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lcm_daemon.pipelines.lora_file import Factors, Layer


def merge(factors: Factors, weight: float) -> None:
    """Add a LoRA to the weights of its layers, permanently."""
    for layer, factor in factors.items():
        up, down = (factor.up * weight).to(layer.weight), factor.down.to(layer.weight)
        _write(layer, _matrix(layer).clone(), up, down)


@dataclass(frozen=True)
class _LayerState:
    """One layer. original: (outputs, inputs).   down: (ranks, inputs), the matrices of all its LoRAs, stacked."""

    layer: Layer
    original: torch.Tensor
    down: torch.Tensor


class _Group:
    """Layers of one model that are changed by the same LoRAs with the same ranks. Their columns are scaled at once."""

    def __init__(self, ranks: Mapping[str, int], layers: Sequence[Layer], factors: Mapping[str, Factors]) -> None:
        self.names, self.layers = frozenset(ranks), tuple(layers)
        self._ranks, like = ranks, layers[0].weight
        ups = [torch.cat([factors[name][layer].up for name in ranks], dim=1) for layer in layers]
        self._rows = [len(up) for up in ups]
        self._up = torch.cat(ups).to(like)
        self._column_weights = like.new_zeros(sum(ranks.values()))
        self._states = [_LayerState(layer, _matrix(layer).clone(),
                                    torch.cat([factors[name][layer].down for name in ranks]).to(like))
                        for layer in layers]

    def apply(self, weights: Mapping[str, float]) -> None:
        if not any(weights[name] for name in self.names):
            for state in self._states:  # bit by bit: adding 0 would turn -0 to 0
                state.layer.weight.detach().copy_(state.original.view(state.layer.weight.shape))
            return
        columns = [weights[name] for name, rank in self._ranks.items() for _ in range(rank)]
        self._column_weights.copy_(torch.tensor(columns))
        scaled = torch.split(self._up * self._column_weights, self._rows)
        for state, up in zip(self._states, scaled, strict=True):
            _write(state.layer, state.original, up, state.down)


class LiveLoras:
    """LoRAs whose weights move while the model runs. They start at 0.

    factors: by name of the LoRA, for layers of these models, which must already be on their final device and in their
        final precision.
    """

    def __init__(self, unet: nn.Module, text_encoders: Iterable[nn.Module], factors: Mapping[str, Factors]) -> None:
        self.names = tuple(factors)
        self._weights = dict.fromkeys(factors, 0.0)
        self._unet = _groups(unet, factors)
        self._text = [group for encoder in text_encoders for group in _groups(encoder, factors)]

    @property
    def layers(self) -> frozenset[Layer]:
        """Layers whose weights move."""
        return frozenset(layer for group in (*self._unet, *self._text) for layer in group.layers)

    def set_weights(self, weights: Mapping[str, float]) -> bool:
        """Apply weights, by name. Missing names keep their weight, unknown ones are ignored. No change costs nothing.

        Returns:
            Whether a text encoder has changed, so that prompts must be embedded again.
        """
        moved = {name for name in self.names if weights.get(name, self._weights[name]) != self._weights[name]}
        if not moved:
            return False
        self._weights.update({name: float(weights[name]) for name in moved})
        changed = [group for group in (*self._unet, *self._text) if group.names & moved]
        for group in changed:
            group.apply(self._weights)
        return any(group in self._text for group in changed)


def _groups(model: nn.Module, factors: Mapping[str, Factors]) -> list[_Group]:
    by_ranks: dict[tuple[tuple[str, int], ...], list[Layer]] = {}
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            ranks = tuple((name, len(lora[layer].down)) for name, lora in factors.items() if layer in lora)
            by_ranks.setdefault(ranks, []).append(layer)
    return [_Group(dict(ranks), layers, factors) for ranks, layers in by_ranks.items() if ranks]


def _matrix(layer: Layer) -> torch.Tensor:
    """A layer's weight as (outputs, inputs), for every memory layout."""
    return layer.weight.detach().flatten(1)


def _write(layer: Layer, original: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> None:
    """Write original + up @ down into the layer's weight."""
    weight = layer.weight.detach()
    if weight.is_contiguous():
        torch.addmm(original, up, down, out=weight.flatten(1))
    else:
        weight.copy_(torch.addmm(original, up, down).view(weight.shape))
