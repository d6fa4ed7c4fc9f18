"""LoRAs: merged into the weights at load, or live, each with a fader.

A live LoRA changes the weights in place. Captured or compiled graphs stay valid, and a frame costs the same with it as
without. Every change starts from the original weights, so nothing drifts, and at 0 they are restored bit by bit. The
price is twice the memory for the layers that live LoRAs change; three times where a change is written in full
(DoRA, full weights, LoHa and LoKr of high rank).

A change launches one operation a layer, which are hundreds. They read the LoRAs' weights from the device, so they are
recorded once for each set of layers that is written, and replayed as one launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from lcm_daemon.pipelines.accelerators.low_rank import LowRank
from lcm_daemon.pipelines.lora_file import Factors, FullChanges, LoraContent
from lcm_daemon.pipelines.lora_groups import LoraChanges, LoraGroup, make_groups
from lcm_daemon.pipelines.lora_kinds import Layer
from lcm_daemon.pipelines.numbers import NumberRange, Numbers

_NO_FULL: Mapping[str, FullChanges] = {}


def merge(content: LoraContent, weight: float) -> None:
    """Add a LoRA to the weights of its layers, permanently."""
    for layer, factor in content.factors.items():
        up, down = (factor.up * weight).to(layer.weight), factor.down.to(layer.weight)
        _write(layer, _matrix(layer).clone(), up, down)
    for (changed, name), change in content.full.items():
        getattr(changed, name).detach().add_(change, alpha=weight)


@dataclass(frozen=True)
class _Move:
    """What a change of weights launches: numbers of the groups that are written, and of those that are restored."""

    written: tuple[int, ...]
    restored: tuple[int, ...]


class LiveLoras:
    """LoRAs whose weights move while the model runs. They start at 0.

    factors: by name of the LoRA, for layers of these models, which must already be on their final device and in their
        final precision.
    full: changes in full, likewise.

    Attributes:
        names: In the order of the recipe.
        weights: float32 (LoRAs,), on the device, always at the same address once `use` was called.
    """

    def __init__(self, unet: nn.Module, text_encoders: Iterable[nn.Module], factors: Mapping[str, Factors],
                 full: Mapping[str, FullChanges] = _NO_FULL) -> None:
        self.names = tuple(factors)
        self._weights = dict.fromkeys(factors, 0.0)
        self._room: NumberRange | None = None
        self._move: _Move | None = None
        change = LoraChanges(factors, full, {name: number for number, name in enumerate(factors)})
        unet_groups = make_groups(unet, change)
        self._text = [group for encoder in text_encoders for group in make_groups(encoder, change)]
        self._groups = (*unet_groups, *self._text)
        first = next(iter(self._groups), None)
        self.weights = torch.zeros(len(factors), device=first.states[0].original.device if first else None)

    @property
    def layers(self) -> frozenset[Layer]:
        """Layers whose weights move."""
        return frozenset(state.layer for group in self._groups for state in group.states
                         if isinstance(state.layer, Layer))

    def moves(self, module: nn.Module) -> bool:
        """Whether a LoRA changes a tensor of `module`."""
        return bool(self._inside(module))

    def low_rank(self, module: nn.Module) -> dict[Layer, LowRank]:
        """What the LoRAs add to each layer of `module`, for accelerators that cannot see weights move.

        It is empty if a LoRA changes a norm or a bias.
        """
        groups = self._inside(module)
        if not all(group.has_layers_only for group in groups):
            return {}
        inside = frozenset(module.modules())
        return {layer: low_rank for group in groups for layer, low_rank in group.low_rank() if layer in inside}

    def _inside(self, module: nn.Module) -> list[LoraGroup]:
        inside = frozenset(module.modules())
        return [group for group in self._groups if any(state.layer in inside for state in group.states)]

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
