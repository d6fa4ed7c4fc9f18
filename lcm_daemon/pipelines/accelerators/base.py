"""Base class of accelerators. An accelerator compiles one module of a pipeline into a faster callable."""

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

CompiledModule = Callable[..., "Tensor"]  # takes the same arguments as the module that it was compiled from


class AcceleratorError(LcmDaemonError):
    """A module could not be compiled here. The next best accelerator is used instead."""


@dataclass(frozen=True)
class Features:
    """What a pipeline does that an accelerator has to know.

    Attributes:
        live_weights: LoRAs change the weights in place while the pipeline plays.
    """

    live_weights: bool = False


class Accelerator(ABC):
    """One compiler on one device.

    Attributes:
        name: name in recipes and in the log.
        compiles_in_background: whether it may compile in a thread while another one renders. Torch's tracers replace
            methods of all modules in the process while they work, so accelerators that use them compile at load,
            while nothing plays.
        bakes_weights: whether compiled modules contain the weights of that moment, and do not see later changes.
    """

    name: ClassVar[str]
    compiles_in_background: ClassVar[bool] = False
    bakes_weights: ClassVar[bool] = False

    def __init__(self, device: torch.device, features: Features) -> None:
        self.device, self.features = device, features

    @classmethod
    @abstractmethod
    def probe(cls, device: torch.device) -> str:
        """Return "" if it works here, else one line: what is missing and how to install it. Imports nothing heavy."""

    def compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        """Compile `module` for inputs with the shapes of `example`, and no others.

        Args:
            part: "encoder", "denoiser" or "decoder".
            module: the module to compile.
            example: its arguments; None for an argument that is absent.

        Returns:
            A callable. Its result may be one tensor that every call overwrites.

        Raises:
            AcceleratorError: the module cannot be compiled.
            Exception: anything else that the compiler raises.
        """
        if not any(tensor is not None for tensor in example):
            raise ValueError(f"{part}: an example needs at least one tensor")
        return self._compile(part, module, example)

    @abstractmethod
    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule: ...


def missing_package(package: str, install: str) -> str:
    """Return "" if `package` can be imported here, else one line with pip's argument `install`."""
    if importlib.util.find_spec(package) is not None:
        return ""
    return f"{package} is not installed; install it with: pip install {install}"
