"""Stand-ins for the kernels of the fused blocks on the CPU, which need Triton or cuDNN; they refuse what those refuse.

Test modules import this with `lazy_imports`: it imports torch.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import lcm_daemon.pipelines
from lcm_daemon.pipelines.float8 import quantise
from lcm_daemon.pipelines.group_norm_plan import Plan

NAME = "lcm_daemon.pipelines.fused_kernels"
SOURCE = Path(lcm_daemon.pipelines.__file__).with_name("fused_kernels.py")


class Kernels(ModuleType):
    """In the place of `fused_kernels`. counts: launches by function."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.counts: Counter[str] = Counter()

    def group_norm(self, image: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float, silu: bool,
                   before: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        _require_layout(image)
        count, channels = image.shape[:2]
        plan = Plan.of(image.numel() // (count * channels), channels, groups)
        self.counts["group_norm"] += 1 if plan.is_whole else 2
        if image.is_meta:
            return torch.empty_like(image)
        ones = (1,) * (image.ndim - 2)
        for added, shape in ((before, (1, channels, *ones)), (shift, (count, channels, *ones))):
            if added is not None:
                image = image + added.view(shape)
        out = functional.group_norm(image, groups, weight, bias, eps)
        return _as(functional.silu(out) if silu else out, image)

    def add(self, image: Tensor, other: Tensor, bias: Tensor, second: Tensor | None = None) -> Tensor:
        _require_layout(image)
        _require_layout(other)
        assert image.shape == other.shape
        self.counts["add"] += 1
        if image.is_meta:
            return torch.empty_like(image)
        total = bias if second is None else bias + second
        return image + other + total.view(1, -1, 1, 1)

    def geglu(self, hidden: Tensor) -> Tensor:
        self.counts["geglu"] += 1
        if hidden.is_meta:
            return hidden.new_empty(*hidden.shape[:-1], hidden.shape[-1] // 2)
        linear, gate = hidden.chunk(2, -1)
        return linear * functional.gelu(gate)

    def to_float8(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        self.counts["to_float8"] += 2
        return quantise(tensor)


def install(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Put the stand-ins in their places until the test ends."""
    kernels = Kernels()
    for name, parameters in _signatures().items():
        assert list(inspect.signature(getattr(kernels, name)).parameters) == parameters, name
    monkeypatch.setitem(sys.modules, NAME, kernels)
    monkeypatch.setattr(lcm_daemon.pipelines, "fused_kernels", kernels, raising=False)

    def relu(self: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any,
             groups: int) -> Tensor:
        _require_layout(self)
        kernels.counts["convolution_relu"] += 1
        if self.is_meta:
            return _convolved(self, weight, stride, padding)
        return torch.relu(functional.conv2d(self, weight, bias, stride, padding, dilation, groups))

    def add_relu(self: Tensor, weight: Tensor, z: Tensor, alpha: float | None, bias: Tensor | None, stride: Any,
                 padding: Any, dilation: Any, groups: int) -> Tensor:
        _require_layout(self)
        _require_layout(z)
        kernels.counts["convolution_add_relu"] += 1
        if self.is_meta:
            return _convolved(self, weight, stride, padding)
        convolved = functional.conv2d(self, weight, bias, stride, padding, dilation, groups)
        return torch.relu(convolved + (1.0 if alpha is None else alpha) * z)

    for name, stand_in in (("cudnn_convolution_relu", relu), ("cudnn_convolution_add_relu", add_relu)):
        schema = getattr(torch.ops.aten, name).default._schema
        assert [argument.name for argument in schema.arguments] == list(inspect.signature(stand_in).parameters)
        monkeypatch.setattr(torch, name, stand_in)
    return kernels


def _signatures() -> dict[str, list[str]]:
    """Parameters of the public functions, read from the source: importing it needs Triton."""
    functions = [node for node in ast.parse(SOURCE.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    return {node.name: [argument.arg for argument in node.args.args] for node in functions if node.name[0] != "_"}


def _require_layout(image: Tensor) -> None:
    """On the meta device convolutions choose their layout by other rules than on CUDA."""
    assert image.is_meta or image.movedim(1, -1).is_contiguous(), f"channels do not lie together: {image.stride()}"


def _convolved(image: Tensor, weight: Tensor, stride: Any, padding: Any) -> Tensor:
    """An image of the shape that the convolution returns, with its channels together."""
    sides = [(side + 2 * pad - kernel) // step + 1 for side, kernel, step, pad in zip(
        image.shape[2:], weight.shape[2:], stride, padding, strict=True)]
    shape = (image.shape[0], weight.shape[0], *sides)
    return torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)


def _as(image: Tensor, like: Tensor) -> Tensor:
    return torch.empty_like(like).copy_(image)
