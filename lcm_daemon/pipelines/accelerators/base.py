"""Base class of accelerators. An accelerator compiles one module of a pipeline into a faster callable."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from lcm_daemon.core.errors import LcmDaemonError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lcm_daemon.pipelines.accelerators.int8 import Int8

# Takes the same arguments as the module that it was compiled from. If it has an attribute `tolerance`, that is the
# largest accepted distance of its output from the module's, relative to the output's norm.
CompiledModule = Callable[..., "Tensor"]


class AcceleratorError(LcmDaemonError):
    """A module could not be compiled here. The next best accelerator is used instead."""


@dataclass(frozen=True)
class Features:
    """What a pipeline does that an accelerator has to know.

    Attributes:
        live_weights: LoRAs change the weights in place while the pipeline plays.
        moving: the layers whose weights they change.
        tuned: Choose kernels by measuring them: the device is free for it, or the result is in the cache.
        beside: Another engine renders while this pipeline loads.
        int8: how parts may be quantised, by part; empty where that is unknown or unwanted.
        openvino_device: OpenVINO's name of the device that the recipe names ("GPU", "NPU"); "" leaves the choice.
    """

    live_weights: bool = False
    moving: frozenset[nn.Module] = frozenset()
    tuned: bool = False
    beside: bool = False
    int8: Mapping[str, Int8] = field(default_factory=dict)
    openvino_device: str = ""


class Accelerator(ABC):
    """One compiler on one device.

    Attributes:
        name: name in recipes and in the log.
        compiles_in_background: whether it may compile in a thread while another one renders. Torch's tracers replace
            methods of all modules in the process while they work, so accelerators that use them compile at load,
            while nothing plays.
        bakes_weights: whether compiled modules contain the weights of that moment, and do not see later changes.
        takes_live_form: whether it compiles modules whose LoRA weights are an input (`low_rank.LowRankForm`), so that
            baked weights do not matter.
        any_shape: whether a compiled module takes inputs of all shapes, so that one that has been verified needs no
            compilation for others.
    """

    name: ClassVar[str]
    compiles_in_background: ClassVar[bool] = False
    bakes_weights: ClassVar[bool] = False
    takes_live_form: ClassVar[bool] = False
    any_shape: ClassVar[bool] = False

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

    def drop_damaged(self, error: Exception) -> bool:
        """Delete what the last `compile` has read from a cache, since its result is wrong; say so.

        Args:
            error: What is wrong.

        Returns:
            Whether there was anything to delete. Compiling again then makes it again.
        """
        return False

    @abstractmethod
    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule: ...


def missing_package(package: str, install: str) -> str:
    """Return "" if `package` can be imported here, else one line with pip's argument `install`."""
    if importlib.util.find_spec(package) is not None:
        return ""
    return f"{package} is not installed; install it with: pip install {install}"
