"""Accelerator: turns one module of a pipeline into a faster callable. A compiler's adapter is a subclass."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lcm_daemon.core.errors import LcmDaemonError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Compiled = Callable[..., "Tensor"]  # called as the module it was made from


class AcceleratorError(LcmDaemonError):
    """A module could not be compiled here; the next best accelerator takes its place."""


@dataclass(frozen=True)
class Features:
    """What a pipeline does that an accelerator has to know.

    live_weights: LoRAs write the weights in place while it plays.
    """

    live_weights: bool = False


class Accelerator(ABC):
    """One compiler on one device.

    beside: whether it may compile in a thread beside the one that renders. Torch's tracers replace methods of all
    modules in the process while they work, so what is built on them compiles while nothing plays: at load.
    holds_weights: whether what it makes has the weights of that moment in it, and does not see them move.
    """

    name: ClassVar[str]
    beside: ClassVar[bool] = False
    holds_weights: ClassVar[bool] = False

    def __init__(self, device: torch.device, features: Features) -> None:
        self.device, self.features = device, features

    @classmethod
    @abstractmethod
    def probe(cls, device: torch.device) -> str:
        """Empty where it works here, else one line: what is missing and how to install it. Imports nothing heavy."""

    def compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled:
        """A callable that does what `module` does for inputs shaped as `example` and no others.

        part: "encoder", "denoiser" or "decoder". The result may be one tensor that every call writes anew.
        Raises AcceleratorError, or what the compiler raises.
        """
        if not any(tensor is not None for tensor in example):
            raise ValueError(f"{part}: an example of at least one tensor is needed")
        return self._compile(part, module, example)

    @abstractmethod
    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled: ...


def missing(package: str, install: str) -> str:
    """One line where `package` cannot be imported here, else nothing."""
    if importlib.util.find_spec(package) is not None:
        return ""
    return f"{package} is not installed; install it with: pip install {install}"
