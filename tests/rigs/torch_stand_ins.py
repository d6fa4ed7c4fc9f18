"""Stand-ins that subclass torch's own classes. Test modules import this with `lazy_imports`: it imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lcm_daemon.pipelines.safety import SafetyPass


class ToyUNet(nn.Module):
    """Takes arguments like a denoiser: tensors, some of them None."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, sample: Tensor, timestep: Tensor, scale: Tensor | None = None, *residuals: Tensor) -> Tensor:
        output: Tensor = self.layer(sample) * timestep
        for more in (scale, *residuals):
            output = output if more is None else output + more
        return output


class Scaled(nn.Module):
    """A live form of a `ToyUNet`: its output is multiplied by the LoRA's weight."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, scales: Tensor, *arguments: Tensor | None) -> Tensor:
        output: Tensor = self.module(*arguments) * scales
        return output


class ToyWithNone(nn.Module):
    """Expects None in the middle of its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, sample: Tensor, absent: Tensor | None, timestep: Tensor) -> Tensor:
        assert absent is None
        output: Tensor = self.layer(sample) * timestep
        return output


class MpsTensor(Tensor):
    """Stands for a tensor on MPS under torch 2.6: antialiasing raises there, and `cpu` is the way out."""

    @staticmethod
    def on(tensor: Tensor) -> Any:
        return tensor.as_subclass(MpsTensor)

    def cpu(self, *arguments: Any) -> Tensor:
        return self.as_subclass(torch.Tensor)


class Brightness(SafetyPass):
    """Calls an image safe that is darker than grey."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean() < 0.2


class Copies(TorchFunctionMode):
    """Notes of each copy from the host to another device whether it is asked not to block."""

    def __init__(self) -> None:
        super().__init__()
        self.to_device: list[bool] = []

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        named = named or {}
        name = getattr(function, "__name__", "")
        if name == "copy_" and arguments[0].device.type != "cpu" and arguments[1].device.type == "cpu":
            self.to_device.append(bool(named.get("non_blocking")))
        if name in ("to", "cuda") and arguments[0].device.type == "cpu":
            result = function(*arguments, **named)
            if result.device.type != "cpu":
                self.to_device.append(bool(named.get("non_blocking")))
            return result
        return function(*arguments, **named)
