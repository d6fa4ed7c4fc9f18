"""A module as tracers see it: with tensor arguments only."""

from __future__ import annotations

from torch import Tensor, nn


class TensorInputs(nn.Module):
    """Wraps a module whose arguments may be None, because tracers accept tensors only.

    The wrapper takes the arguments that are tensors in `example`, and passes None for the others.
    """

    def __init__(self, module: nn.Module, example: tuple[Tensor | None, ...]) -> None:
        super().__init__()
        self.module, self._present = module, [tensor is not None for tensor in example]

    def forward(self, *tensors: Tensor) -> Tensor:
        """Call the module, with None where the example has None."""
        rest = iter(tensors)
        output: Tensor = self.module(*(next(rest) if present else None for present in self._present))
        return output


def tensors_of(arguments: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    """Return the arguments that a `TensorInputs` takes: those that are not None."""
    return tuple(tensor for tensor in arguments if tensor is not None)
