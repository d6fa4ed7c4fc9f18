"""Given: what a tracer sees of a module."""

from __future__ import annotations

from torch import Tensor, nn


class Given(nn.Module):
    """A module with the inputs that an example has and no others: tracers take tensors, not None."""

    def __init__(self, module: nn.Module, example: tuple[Tensor | None, ...]) -> None:
        super().__init__()
        self.module, self._present = module, [tensor is not None for tensor in example]

    def forward(self, *tensors: Tensor) -> Tensor:
        """As the module's, with None put back where the example has it."""
        rest = iter(tensors)
        output: Tensor = self.module(*(next(rest) if present else None for present in self._present))
        return output


def tensors_of(example: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    """What of an example, or of a call like it, a `Given` takes."""
    return tuple(tensor for tensor in example if tensor is not None)
