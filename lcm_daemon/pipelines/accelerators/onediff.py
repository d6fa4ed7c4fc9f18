"""OneDiff: modules compiled by OneFlow. OneDiff is unmaintained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule, missing_package
from lcm_daemon.pipelines.accelerators.tensor_inputs import TensorInputs, tensors_of


class OneDiff(Accelerator):
    """The OneFlow backend, with static shapes.

    It does not take live forms. Their layers read the LoRAs' weights from one object, and OneDiff copies the attributes
    of every module that it translates, so each layer would read an object of its own that is never written. A denoiser
    plays eagerly while one of its LoRAs is off its loaded weight.
    """

    name = "onediff"
    bakes_weights = True

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cuda":
            return f"it needs an NVIDIA GPU, and the device is {device.type}"
        return missing_package("onediff", "onediff") or missing_package("oneflow", "oneflow, as OneDiff's README says")

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        from onediff import infer_compiler

        options = infer_compiler.OneflowCompileOptions(dynamic=False)
        fast: Any = infer_compiler.compile(TensorInputs(module, example), backend="oneflow", options=options)
        fast(*tensors_of(example))

        def run(*arguments: Tensor | None) -> Tensor:
            output: Tensor = fast(*tensors_of(arguments))
            return output

        return run
