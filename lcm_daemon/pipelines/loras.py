"""LoRAs: merged into the weights at load, or live, each with a fader.

A live LoRA changes the weights in place. Captured or compiled graphs stay valid, and a frame costs the same with it as
without. Every change starts from the original weights, so nothing drifts, and at 0 they are restored bit by bit. The
price is twice the memory for the layers that live LoRAs change.

A change launches one operation a layer, which are hundreds. They read the LoRAs' weights from the device, so they are
recorded once for each set of layers that is written, and replayed as one launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lcm_daemon.pipelines.accelerators.low_rank import LowRank
from lcm_daemon.pipelines.lora_file import Factors, Layer
from lcm_daemon.pipelines.numbers import NumberRange, Numbers


def merge(factors: Factors, weight: float) -> None:
    """Add a LoRA to the weights of its layers, permanently."""
    for layer, factor in factors.items():
        up, down = (factor.up * weight).to(layer.weight), factor.down.to(layer.weight)
        _write(layer, _matrix(layer).clone(), up, down)


@dataclass(frozen=True)
class _LayerState:
    """One layer.

    original: Its weight without LoRAs, in the same shape and layout.
    down: (ranks, inputs), the matrices of all its LoRAs, stacked.
    """

    layer: Layer
    original: torch.Tensor
    down: torch.Tensor

    def write(self, up: torch.Tensor) -> None:
        """Write original + up @ down into the layer's weight, in one operation."""
        torch.addmm(_in_memory_order(self.original), up, self.down, out=_in_memory_order(self.layer.weight.detach()))


class _Group:
    """Layers of one model that are changed by the same LoRAs with the same ranks. Their columns are scaled at once.

    numbers: the places of the LoRAs in the tensor of all weights.
    """

    def __init__(self, ranks: Mapping[str, int], layers: Sequence[Layer], factors: Mapping[str, Factors],
                 numbers: Mapping[str, int]) -> None:
        self.names, self.layers = frozenset(ranks), tuple(layers)
        like = layers[0].weight
        ups = [torch.cat([factors[name][layer].up for name in ranks], dim=1) for layer in layers]
        self._rows = [len(up) for up in ups]
        self._up = torch.cat(ups).to(like)
        self.loras = tuple(numbers[name] for name, rank in ranks.items() for _ in range(rank))  # by column
        self._columns = torch.tensor(self.loras, device=like.device)
        self._column_weights = like.new_zeros(len(self.loras))
        self.states = [_LayerState(layer, layer.weight.detach().clone(),
                                   _as_weight(layer, torch.cat([factors[name][layer].down for name in ranks])))
                       for layer in layers]

    def apply(self, weights: torch.Tensor) -> None:
        """Write the weights of the layers. weights: float32, of all LoRAs, on the device."""
        self._column_weights.copy_(weights.index_select(0, self._columns))
        scaled = torch.split(self._up * self._column_weights, self._rows)
        for state, up in zip(self.states, scaled, strict=True):
            state.write(up)

    def low_rank(self) -> Iterator[tuple[Layer, LowRank]]:
        """Each layer with what the LoRAs add to it."""
        for state, up in zip(self.states, torch.split(self._up, self._rows), strict=True):
            yield state.layer, LowRank(state.original, up, _like_weight(state), self.loras)

    def restore(self) -> None:
        """Write the original weights, bit by bit: adding 0 would turn -0 to 0."""
        torch._foreach_copy_([state.layer.weight.detach() for state in self.states],
                             [state.original for state in self.states])


@dataclass(frozen=True)
class _Move:
    """What a change of weights launches: numbers of the groups that are written, and of those that are restored."""

    written: tuple[int, ...]
    restored: tuple[int, ...]


class LiveLoras:
    """LoRAs whose weights move while the model runs. They start at 0.

    factors: by name of the LoRA, for layers of these models, which must already be on their final device and in their
        final precision.

    Attributes:
        names: In the order of the recipe.
        weights: float32 (LoRAs,), on the device, always at the same address once `use` was called.
    """

    def __init__(self, unet: nn.Module, text_encoders: Iterable[nn.Module], factors: Mapping[str, Factors]) -> None:
        self.names = tuple(factors)
        self._weights = dict.fromkeys(factors, 0.0)
        self._room: NumberRange | None = None
        self._move: _Move | None = None
        numbers = {name: number for number, name in enumerate(factors)}
        unet_groups = _groups(unet, factors, numbers)
        self._text = [group for encoder in text_encoders for group in _groups(encoder, factors, numbers)]
        self._groups = (*unet_groups, *self._text)
        first = next(iter(self._groups), None)
        self.weights = torch.zeros(len(factors), device=first.states[0].original.device if first else None)

    @property
    def layers(self) -> frozenset[Layer]:
        """Layers whose weights move."""
        return frozenset(layer for group in self._groups for layer in group.layers)

    def low_rank(self, module: nn.Module) -> dict[Layer, LowRank]:
        """What the LoRAs add to each layer of `module`, for accelerators that cannot see weights move."""
        inside = frozenset(module.modules())
        return {layer: low_rank for group in self._groups for layer, low_rank in group.low_rank()
                if layer in inside}

    def use(self, numbers: Numbers) -> None:
        """Read the weights from a room of these numbers instead: `prepare` writes them there."""
        self._room = numbers.reserve(len(self.names)) if self.names else None
        if self._room is not None:
            self.weights = self._room.tensor
            self._room.write(list(self._weights.values()))

    def prepare(self, weights: Mapping[str, float]) -> bool:
        """Take new weights, by name, on the host. Missing names keep their weight, unknown ones are ignored.

        Returns:
            Whether `pending` changes a text encoder, so that prompts must be embedded again.
        """
        moved = {name for name in self.names if weights.get(name, self._weights[name]) != self._weights[name]}
        if not moved:
            return False
        self._weights.update({name: float(weights[name]) for name in moved})
        if self._room is not None:
            self._room.write(list(self._weights.values()))
        else:
            self.weights.copy_(torch.tensor(list(self._weights.values())))
        up = {name for name, weight in self._weights.items() if weight}
        numbers = [number for number, group in enumerate(self._groups) if group.names & moved]
        written = tuple(number for number in numbers if self._groups[number].names & up)
        self._move = _Move(written, tuple(number for number in numbers if number not in written))
        return any(group.names & moved for group in self._text)

    def pending(self) -> tuple[_Move, Callable[[], torch.Tensor]] | None:
        """What has to run before the next frame: its key and the work; None while no weight has moved.

        Equal keys launch the same operations, which read the weights from the device. So the work may be recorded.
        """
        move, self._move = self._move, None
        return None if move is None else (move, lambda: self._apply(move))

    def set_weights(self, weights: Mapping[str, float]) -> bool:
        """Apply weights at once, as `prepare` and what is then pending. No change costs nothing."""
        changes_text = self.prepare(weights)
        if (pending := self.pending()) is not None:
            pending[1]()
        return changes_text

    def _apply(self, move: _Move) -> torch.Tensor:
        for number in move.written:
            self._groups[number].apply(self.weights)
        for number in move.restored:
            self._groups[number].restore()
        return self.weights


def _groups(model: nn.Module, factors: Mapping[str, Factors], numbers: Mapping[str, int]) -> list[_Group]:
    by_ranks: dict[tuple[tuple[str, int], ...], list[Layer]] = {}
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            ranks = tuple((name, len(lora[layer].down)) for name, lora in factors.items() if layer in lora)
            by_ranks.setdefault(ranks, []).append(layer)
    return [_Group(dict(ranks), layers, factors, numbers) for ranks, layers in by_ranks.items() if ranks]


def _in_memory_order(weight: torch.Tensor) -> torch.Tensor:
    """A weight as a contiguous matrix (outputs, inputs) on the same memory; channels_last has its own order."""
    return (weight if weight.is_contiguous() else weight.permute(0, 2, 3, 1)).flatten(1)


def _as_weight(layer: Layer, down: torch.Tensor) -> torch.Tensor:
    """`down` with its inputs in the order of the layer's weight in memory."""
    shaped = down.to(layer.weight).view(len(down), *layer.weight.shape[1:])
    if layer.weight.is_contiguous():
        return shaped.flatten(1)
    return shaped.permute(0, 2, 3, 1).contiguous().flatten(1)


def _like_weight(state: _LayerState) -> torch.Tensor:
    """The state's `down` in the shape of a weight, (ranks, inputs, ...)."""
    weight, ranks = state.original, len(state.down)
    if weight.is_contiguous():
        return state.down.view(ranks, *weight.shape[1:])
    inputs, height, width = weight.shape[1:]
    return state.down.view(ranks, height, width, inputs).permute(0, 3, 1, 2)


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
