"""What OpenVINO's compiler is given of a module: TorchScript that computes in float32 from weights kept in 16 bits.

Modules in 16 bits cannot be traced as they are: OpenVINO's converter replaces functions of torch to read them, and in
2026.4 bfloat16 weights come out as NaN. A float32 copy of a large UNet would take twice its memory, several times over.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.given import Given, tensors_of

LARGEST = torch.finfo(torch.float16).max


def trace(module: nn.Module, example: tuple[Tensor | None, ...], file: Path) -> None:
    """Write it to `file`. Its inputs are the tensors of `example`, float32, in their order."""
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that become constants, which is what is wanted here
        tensors = tuple(tensor.float().clone() for tensor in tensors_of(example))
        traced = torch.jit.trace(_widened(Given(module, example)), tensors,  # type: ignore[no-untyped-call]
                                 check_trace=False)
        torch.jit.save(traced, file)


def _widened(module: nn.Module) -> nn.Module:
    """The same module over the same weights, those of 16 bits as float16 that each layer widens when it runs."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    skeleton = copy.deepcopy(module, shared)
    for layer in skeleton.modules():
        narrow = {name: f"{name}_narrow" for name, weight in layer.named_parameters(recurse=False)
                  if weight.dtype != torch.float32}
        for name, kept in narrow.items():
            layer.register_buffer(kept, _to_float16(layer.get_parameter(name)))
            layer.register_parameter(name, _placeholder())
        if narrow:
            _widen_when_run(layer, narrow)
    return skeleton


def _widen_when_run(layer: nn.Module, narrow: dict[str, str]) -> None:
    def widen(module: nn.Module, inputs: object) -> None:
        for name, kept in narrow.items():
            # A tensor that is computed cannot be an nn.Parameter, which is all that setattr would take here.
            module._parameters[name] = getattr(module, kept).float()

    def let_go(module: nn.Module, inputs: object, output: object) -> None:
        for name in narrow:
            module._parameters[name] = _placeholder()

    layer.register_forward_pre_hook(widen)
    layer.register_forward_hook(let_go)


def _to_float16(weight: Tensor) -> Tensor:
    """float16 holds every weight that bfloat16 checkpoints have, where it is not too large."""
    return weight.detach().clamp(-LARGEST, LARGEST).to(torch.float16)


def _placeholder() -> nn.Parameter:
    """So that a model asked for its dtype says float32."""
    return nn.Parameter(torch.empty(0), requires_grad=False)
