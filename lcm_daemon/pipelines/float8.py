"""Linear layers in float8 (e4m3: 4 bits of exponent, 3 of mantissa; Micikevicius et al., arXiv:2209.05433).

One scale for each tensor, weights at load and inputs by their largest value of the moment, on the device. e4m3 keeps
its relative precision over 14 powers of two below the largest value, so finer scales would gain little, and torch's
`_scaled_mm` returns float16 for such scales only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines import structure

MULTIPLE = 16  # `_scaled_mm`: both dimensions of the weight are multiples of it
BLOCK = "BasicTransformerBlock"  # diffusers' class whose layers may change
_FLOAT8 = torch.float8_e4m3fn
_MAX = torch.finfo(_FLOAT8).max
_SMALLEST_SCALE = 1e-12


@dataclass(frozen=True, order=True)
class Shape:
    """What decides how long a layer takes: rows (pixels or tokens), inputs, outputs."""

    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.inputs}x{self.outputs}"


class Float8Linear(nn.Module):
    """An `nn.Linear` whose product is computed in float8. It does not see later changes of the weight.

    has_triton: whether the input is quantised by a kernel of ours; otherwise by torch's operations.
    """

    weight: Tensor  # float8 (outputs, inputs); `_scaled_mm` reads it transposed, which it requires
    scale: Tensor  # float32 ()

    def __init__(self, layer: nn.Linear, has_triton: bool = False) -> None:
        super().__init__()
        quantised, scale = quantise(layer.weight.detach())
        self.register_buffer("weight", quantised)
        self.register_buffer("scale", scale)
        self.bias, self._outputs, self._has_triton = layer.bias, layer.out_features, has_triton

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs), in the dtype of `hidden`."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        if self._has_triton and not torch.compiler.is_compiling():  # a compiler makes its own kernel of it
            from lcm_daemon.pipelines import fused_kernels

            quantised, scale = fused_kernels.to_float8(rows)
        else:
            quantised, scale = quantise(rows)
        output = torch._scaled_mm(quantised, self.weight.t(), scale_a=scale, scale_b=self.scale, bias=self.bias,
                                  out_dtype=hidden.dtype, use_fast_accum=True)
        return output.view(*hidden.shape[:-1], self._outputs)


def quantise(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise by the largest value: (float8, scale), `tensor` is about `float8 * scale`. Nothing waits."""
    scale = tensor.abs().amax().float().div(_MAX).clamp_min(_SMALLEST_SCALE)
    return tensor.float().div(scale).clamp(-_MAX, _MAX).to(_FLOAT8), scale


def candidates(module: nn.Module, moving: Collection[int]) -> Mapping[str, nn.Linear]:
    """Layers that may be computed in float8, by name: those of the transformer blocks whose weights stay as they are.

    moving: identities of the weights that live LoRAs change.
    """
    found: dict[str, nn.Linear] = {}
    for prefix, block in module.named_modules():
        if type(block).__name__ == BLOCK:
            found.update({f"{prefix}.{name}": layer for name, layer in block.named_modules()
                          if type(layer) is nn.Linear and _fits(layer) and id(layer.weight) not in moving})
    return found


def _fits(layer: nn.Linear) -> bool:
    return (layer.in_features % MULTIPLE == 0 and layer.out_features % MULTIPLE == 0
            and layer.weight.dtype in (torch.float16, torch.bfloat16))


@dataclass(frozen=True)
class Usage:
    """How a layer is used in one pass. error: distance of its float8 result, relative to the result's norm."""

    shape: Shape
    error: float


def observe(module: nn.Module, example: tuple[Tensor | None, ...], names: Collection[str]) -> Mapping[str, Usage]:
    """Run the module once, and note how its layers of these names are used."""
    watched = structure.share(module)
    shapes: dict[str, Shape] = {}
    errors: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def note(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shapes[name] = Shape(inputs[0].numel() // layer.in_features, layer.in_features, layer.out_features)
            exact = output.float()
            errors[name] = (Float8Linear(layer)(inputs[0]).float() - exact).norm() / exact.norm().clamp_min(1e-6)

        return note

    for name in names:
        watched.get_submodule(name).register_forward_hook(watch(name))
    watched(*example)
    return {name: Usage(shapes[name], float(errors[name])) for name in shapes}


def convert(module: nn.Module, names: Collection[str], has_triton: bool) -> nn.Module:
    """Return a structural copy with these layers in float8."""
    chosen = {id(module.get_submodule(name).weight) for name in names}
    made: nn.Module = structure.share(module)
    structure.replace(made, lambda layer: Float8Linear(layer, has_triton) if type(layer) is nn.Linear
                      and id(layer.weight) in chosen else None)
    return made
