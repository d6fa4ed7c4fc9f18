"""Groups of tensors that live LoRAs change together, and how they are written.

Every write starts from the original: original + up @ down of all LoRAs that are products, plus weight * change of each
of the others. The weights are read from the device, so a write may be recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lcm_daemon.pipelines.accelerators.low_rank import LowRank
from lcm_daemon.pipelines.lora_file import Factors, FullChanges, Place
from lcm_daemon.pipelines.lora_kinds import Factor, Layer


@dataclass(frozen=True)
class _State:
    """A weight or a bias.

    layer, name: The layer, and "weight" or "bias".
    original: The tensor without LoRAs, in the same shape and layout.
    down: (ranks, inputs), the matrices of all LoRAs that are products, stacked; None if there are none.
    full: What the other LoRAs add, in the same shape and layout.
    """

    layer: nn.Module
    name: str
    original: torch.Tensor
    down: torch.Tensor | None
    full: tuple[torch.Tensor, ...]

    @property
    def tensor(self) -> torch.Tensor:
        tensor: torch.Tensor = getattr(self.layer, self.name).detach()
        return tensor

    def write(self, up: torch.Tensor) -> None:
        """Write original + up @ down, in one operation."""
        assert self.down is not None
        torch.addmm(_in_memory_order(self.original), up, self.down, out=_in_memory_order(self.tensor))

    def add(self, number: int, weight: torch.Tensor, to_original: bool) -> None:
        """Write the original, or what was written before, + weight * the full change of this number."""
        tensor = self.tensor
        torch.addcmul(self.original if to_original else tensor, self.full[number], weight, out=tensor)


@dataclass(frozen=True)
class LoraChanges:
    """All that the LoRAs of a model add, by their names."""

    factors: Mapping[str, Factors]
    full: Mapping[str, FullChanges]
    numbers: Mapping[str, int]  # the places of the LoRAs in the tensor of all weights

    def key(self, place: Place) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
        """The LoRAs that change a tensor: those that are products, each with its rank, and the others."""
        layer, name = place
        ranks = tuple((lora, len(self.factor(lora, layer).down)) for lora, own in self.factors.items()
                      if name == "weight" and layer in own)
        return ranks, tuple(lora for lora, own in self.full.items() if place in own)

    def factor(self, lora: str, layer: nn.Module) -> Factor:
        """The product that a LoRA adds to a layer."""
        assert isinstance(layer, Layer)
        return self.factors[lora][layer]

    def state(self, place: Place, ranks: Iterable[str], full: Iterable[str]) -> _State:
        layer, name = place
        original = getattr(layer, name).detach().clone()
        downs = [self.factor(lora, layer).down for lora in ranks]
        return _State(layer, name, original, _as_weight(original, torch.cat(downs)) if downs else None,
                      tuple(self.full[lora][place] for lora in full))


class LoraGroup:
    """Tensors of one model that are changed by the same LoRAs with the same ranks. Their columns are scaled at once.

    ranks: the LoRAs that are products, with their ranks.
    full: the others.
    """

    def __init__(self, ranks: Mapping[str, int], full: Sequence[str], places: Sequence[Place],
                 change: LoraChanges) -> None:
        self.names = frozenset((*ranks, *full))
        self.states = [change.state(place, ranks, full) for place in places]
        like = self.states[0].original
        ups = [torch.cat([change.factor(name, state.layer).up for name in ranks], dim=1) for state in self.states
               if ranks]
        self._rows = [len(up) for up in ups]
        self._up = torch.cat(ups).to(like) if ups else None
        self.loras = tuple(change.numbers[name] for name, rank in ranks.items() for _ in range(rank))  # by column
        self._numbers = torch.tensor([*self.loras, *(change.numbers[name] for name in full)], device=like.device)
        self._weights = like.new_zeros(len(self._numbers))  # of the columns, and then of the full changes
        self._full = tuple(change.numbers[name] for name in full)

    def apply(self, weights: torch.Tensor) -> None:
        """Write the tensors. weights: float32, of all LoRAs, on the device."""
        self._weights.copy_(weights.index_select(0, self._numbers))
        columns, full = self._weights[:len(self.loras)], self._weights[len(self.loras):]
        if self._up is not None:
            for state, up in zip(self.states, torch.split(self._up * columns, self._rows), strict=True):
                state.write(up)
        for number in range(len(self._full)):
            for state in self.states:
                state.add(number, full[number], to_original=self._up is None and number == 0)

    @property
    def has_layers_only(self) -> bool:
        """Whether it changes the weights of linear layers and convolutions alone: no norms and no biases."""
        return all(isinstance(state.layer, Layer) and state.name == "weight" for state in self.states)

    def low_rank(self) -> Iterator[tuple[Layer, LowRank]]:
        """Each layer with what the LoRAs add to it, if `has_layers_only`."""
        ups = [None] * len(self.states) if self._up is None else torch.split(self._up, self._rows)
        for state, up in zip(self.states, ups, strict=True):
            assert isinstance(state.layer, Layer)
            yield state.layer, LowRank(state.original, up, _like_weight(state), self.loras,
                                       tuple(zip(state.full, self._full, strict=True)))

    def restore(self) -> None:
        """Write the originals, bit by bit: adding 0 would turn -0 to 0."""
        torch._foreach_copy_([state.tensor for state in self.states], [state.original for state in self.states])


def make_groups(model: nn.Module, change: LoraChanges) -> list[LoraGroup]:
    """The groups of one model; none if no LoRA changes it."""
    places: dict[tuple[tuple[tuple[str, int], ...], tuple[str, ...]], list[Place]] = {}
    for layer in model.modules():
        for name in ("weight", "bias"):
            places.setdefault(change.key((layer, name)), []).append((layer, name))
    return [LoraGroup(dict(ranks), full, found, change) for (ranks, full), found in places.items() if ranks or full]


def _in_memory_order(weight: torch.Tensor) -> torch.Tensor:
    """A weight as a contiguous matrix (outputs, inputs) on the same memory; channels_last has its own order."""
    return (weight if weight.is_contiguous() else weight.permute(0, 2, 3, 1)).flatten(1)


def _as_weight(weight: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """`down` with its inputs in the order of a weight in memory."""
    shaped = down.to(weight).view(len(down), *weight.shape[1:])
    if weight.is_contiguous():
        return shaped.flatten(1)
    return shaped.permute(0, 2, 3, 1).contiguous().flatten(1)


def _like_weight(state: _State) -> torch.Tensor | None:
    """The state's `down` in the shape of a weight, (ranks, inputs, ...); None if it has none."""
    if state.down is None:
        return None
    weight, ranks = state.original, len(state.down)
    if weight.is_contiguous():
        return state.down.view(ranks, *weight.shape[1:])
    inputs, height, width = weight.shape[1:]
    return state.down.view(ranks, height, width, inputs).permute(0, 3, 1, 2)
