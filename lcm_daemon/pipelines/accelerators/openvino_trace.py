"""Trace a module for OpenVINO's compiler: TorchScript that computes in float32 from weights stored in 16 bits.

Modules in 16 bits cannot be traced as they are: OpenVINO's converter replaces functions of torch to read them, and in
2026.4 bfloat16 weights become NaN. A float32 copy of a large UNet would take twice its memory, several times over.
"""

from __future__ import annotations

import copy
import shutil
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import AcceleratorError
from lcm_daemon.pipelines.accelerators.int8 import Int8, quantise
from lcm_daemon.pipelines.accelerators.tensor_inputs import TensorInputs, tensors_of

FLOAT16_MAX = torch.finfo(torch.float16).max
ROOM = 64 << 20  # bytes on the disk for all that is written beside the weights


def trace(module: nn.Module, example: tuple[Tensor | None, ...], file: Path, int8: Int8 | None = None) -> None:
    """Trace `module` and write it to `file`. Its inputs are the tensors of `example` in float32, in the same order.

    Args:
        module: the module; it stays as it is.
        example: its arguments.
        file: where to write.
        int8: trace the module's quantised form.

    Raises:
        AcceleratorError: The disk has no room for it.
    """
    _require_room(module, file)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about shapes that become constants, which is intended
        tensors = tuple(tensor.float().clone() for tensor in tensors_of(example))
        form = _copy(module)
        if int8 is not None:
            quantise(form, int8)
        _widen(form)
        traced = torch.jit.trace(TensorInputs(form, example), tensors,  # type: ignore[no-untyped-call]
                                 check_trace=False)
        torch.jit.save(traced, file)


def _require_room(module: nn.Module, file: Path) -> None:
    """Check that the disk has room. torch ends the whole process if the disk becomes full while it writes a file."""
    weights = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    needed, free = 2 * weights + ROOM, shutil.disk_usage(file.parent).free  # the trace, then the compiled model
    if free < needed:
        raise AcceleratorError(
            f"openvino: the cache folder {file.parent.parent} has {free >> 20} MiB free, and compiling a module needs "
            f"{needed >> 20}; the module plays as torch runs it")


def _copy(module: nn.Module) -> nn.Module:
    """Copy a module without copying weights."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)


def _widen(module: nn.Module) -> None:
    """Replace 16-bit weights by float16, which each layer widens when it runs, in place."""
    for layer in module.modules():
        narrow = {name: f"{name}_narrow" for name, weight in layer.named_parameters(recurse=False)
                  if weight.dtype != torch.float32}
        for name, kept in narrow.items():
            layer.register_buffer(kept, _to_float16(layer.get_parameter(name)))
            layer.register_parameter(name, _placeholder())
        if narrow:
            _widen_when_run(layer, narrow)


def _widen_when_run(layer: nn.Module, narrow: dict[str, str]) -> None:
    def widen(module: nn.Module, inputs: object) -> None:
        for name, kept in narrow.items():
            # setattr accepts only an nn.Parameter here, which a computed tensor cannot be.
            module._parameters[name] = getattr(module, kept).float()

    def release(module: nn.Module, inputs: object, output: object) -> None:
        for name in narrow:
            module._parameters[name] = _placeholder()

    layer.register_forward_pre_hook(widen)
    layer.register_forward_hook(release)


def _to_float16(weight: Tensor) -> Tensor:
    """Convert to float16, which represents all weights of bfloat16 checkpoints except very large ones; clamp those."""
    return weight.detach().clamp(-FLOAT16_MAX, FLOAT16_MAX).to(torch.float16)


def _placeholder() -> nn.Parameter:
    """An empty float32 parameter, so that a model that is asked for its dtype returns float32."""
    return nn.Parameter(torch.empty(0), requires_grad=False)
