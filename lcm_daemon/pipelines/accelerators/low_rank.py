"""Modules whose LoRA weights are inputs, for accelerators that bake the model's weights into what they compile.

A LoRA adds up @ (scale * down) to a layer's weight W. Instead of W, the scale moves: a layer computes
W x + up (scale * down x), with two small layers beside its own (Hu et al., "LoRA", arXiv:2106.09685, section 4.1). A
change D that is written in full is another layer, W x + scale * (D x), which takes as long as the layer itself. What is
compiled from that form stays valid while faders move.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lcm_daemon.pipelines.lora_kinds import Layer


@dataclass(frozen=True)
class LowRank:
    """What the live LoRAs add to one layer.

    weight: the layer's own weight, at scale 0.
    up: (outputs, ranks), the matrices of all LoRAs, side by side; None if all of them are in full.
    down: (ranks, inputs); for a convolution (ranks, inputs, height, width). None likewise.
    loras: for each rank, the number of its LoRA.
    full: what the other LoRAs add, each in the shape of the weight and with the number of its LoRA.
    """

    weight: Tensor
    up: Tensor | None
    down: Tensor | None
    loras: tuple[int, ...]
    full: tuple[tuple[Tensor, int], ...] = ()


_NO_SCALES = torch.empty(0)


class _Scales:
    """The scales of one call: per LoRA as they come in, per rank as the layers use them."""

    def __init__(self) -> None:
        self._by_ranks: dict[tuple[int, ...], Tensor] = {}
        self._scales = _NO_SCALES

    def set(self, scales: Tensor) -> None:
        self._scales = scales
        self._by_ranks.clear()

    def of(self, loras: tuple[int, ...]) -> Tensor:
        """The scale of each rank, (ranks,). Layers with the same LoRAs share the result."""
        if loras not in self._by_ranks:
            self._by_ranks[loras] = torch.cat([self._scales[number:number + 1] for number in loras])
        return self._by_ranks[loras]


class LowRankForm(nn.Module):
    """Computes what a module with live LoRAs computes. Its first argument are their scales, float32 (LoRAs,).

    It shares the weights of the module where no LoRA changes them.

    Args:
        module: the module; it stays as it is.
        layers: what the LoRAs add, by layer of the module.
    """

    def __init__(self, module: nn.Module, layers: Mapping[Layer, LowRank]) -> None:
        super().__init__()
        self._scales = _Scales()
        shared: dict[int, object] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        shared |= {id(layer.weight): nn.Parameter(state.weight, requires_grad=False)
                   for layer, state in layers.items()}
        named = [(name, layer) for name, layer in module.named_modules()
                 if isinstance(layer, nn.Linear | nn.Conv2d) and layer in layers]
        self.module = copy.deepcopy(module, shared)
        for name, layer in named:
            parent, _, child = name.rpartition(".")
            own = self.module.get_submodule(name)
            setattr(self.module.get_submodule(parent), child, LowRankLayer(own, layers[layer], self._scales))

    def forward(self, scales: Tensor, *arguments: Tensor | None) -> Tensor:
        """Call the module as it is with these scales."""
        self._scales.set(scales)
        output: Tensor = self.module(*arguments)
        self._scales.set(_NO_SCALES)
        return output


class LowRankLayer(nn.Module):
    """A linear layer or a convolution with LoRAs beside it."""

    def __init__(self, base: nn.Module, state: LowRank, scales: _Scales) -> None:
        super().__init__()
        self.base, self._loras, self._scales = base, state.loras, scales  # `base` may be replaced by a quantised layer
        self._settings: Any = (base.stride, base.padding, base.dilation) if isinstance(base, nn.Conv2d) else None
        self._full_loras = [number for _, number in state.full]
        # Parameters, not buffers: the tracer widens parameters of 16 bits.
        self.up, self.down = (None if matrix is None else nn.Parameter(matrix.to(state.weight), requires_grad=False)
                              for matrix in (state.up, state.down))
        self.full = nn.ParameterList([nn.Parameter(change.to(state.weight), requires_grad=False)
                                      for change, _ in state.full])

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.base(values)
        if self.up is not None and self.down is not None:
            output = output + self._product(values, self._scales.of(self._loras).to(values.dtype), self.up, self.down)
        for change, number in zip(self.full, self._full_loras, strict=True):
            output = output + self._run(values, change) * self._scales.of((number,)).to(values.dtype)
        return output

    def _product(self, values: Tensor, scales: Tensor, up: Tensor, down: Tensor) -> Tensor:
        if self._settings is None:
            return functional.linear(self._run(values, down) * scales, up)
        return functional.conv2d(self._run(values, down) * scales.view(1, -1, 1, 1), up[..., None, None])

    def _run(self, values: Tensor, weight: Tensor) -> Tensor:
        """What the layer does with values, with this weight and without a bias."""
        if self._settings is None:
            return functional.linear(values, weight)
        return functional.conv2d(values, weight, None, *self._settings)


@dataclass(frozen=True)
class LiveForm:
    """A module whose LoRA weights are an input, so that an accelerator that bakes weights may compile it.

    make: returns it, always the same, which takes the scales before the module's own arguments. The first call is slow.
    scales: returns them as they are at this moment, float32 (LoRAs,), on the device.
    """

    make: Callable[[], nn.Module]
    scales: Callable[[], Tensor]


def live_form(module: nn.Module, layers: Mapping[Layer, LowRank], scales: Callable[[], Tensor]) -> LiveForm | None:
    """Return the form of `module`; None if one of the layers has no such form (a grouped convolution)."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros"):
            return None
    return LiveForm(functools.cache(lambda: LowRankForm(module, layers)), scales) if layers else None
