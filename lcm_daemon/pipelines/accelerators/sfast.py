"""stable-fast, which is no longer maintained, and its maintained fork stable-fast-pruna: both are imported as sfast."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, Compiled, missing
from lcm_daemon.pipelines.accelerators.given import Given, tensors_of


class StableFast(Accelerator):
    """TorchScript with fused kernels. Weights stay where they are, so LoRAs may move them."""

    name = "sfast"

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cuda":
            return f"it is for NVIDIA GPUs, and the recipe runs on {device.type}"
        if sys.platform == "darwin":
            return "it is for Linux and Windows"
        return missing("sfast", "stable-fast-pruna, the maintained fork of stable-fast")

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled:
        from sfast.compilers import diffusion_pipeline_compiler

        config = diffusion_pipeline_compiler.CompilationConfig.Default()
        config.enable_cuda_graph = False  # the whole frame is one graph of our own
        config.preserve_parameters = True
        # compile_unet replaces forward: of this wrapper, and the module itself still plays as it was.
        fast: Any = diffusion_pipeline_compiler.compile_unet(Given(module, example), config)
        fast(*tensors_of(example))

        def run(*given: Tensor | None) -> Tensor:
            output: Tensor = fast(*tensors_of(given))
            return output

        return run
