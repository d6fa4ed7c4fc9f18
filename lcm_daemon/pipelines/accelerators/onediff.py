"""OneDiff, which is no longer maintained: modules compiled by OneFlow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, Compiled, missing
from lcm_daemon.pipelines.accelerators.given import Given, tensors_of


class OneDiff(Accelerator):
    """The OneFlow backend, with static shapes."""

    name = "onediff"
    holds_weights = True

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cuda":
            return f"it is for NVIDIA GPUs, and the recipe runs on {device.type}"
        return missing("onediff", "onediff") or missing("oneflow", "oneflow, as OneDiff's README says")

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled:
        from onediff import infer_compiler

        options = infer_compiler.OneflowCompileOptions(dynamic=False)
        fast: Any = infer_compiler.compile(Given(module, example), backend="oneflow", options=options)
        fast(*tensors_of(example))

        def run(*given: Tensor | None) -> Tensor:
            output: Tensor = fast(*tensors_of(given))
            return output

        return run
