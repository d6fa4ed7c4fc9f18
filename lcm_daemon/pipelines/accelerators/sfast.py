"""stable-fast and its maintained fork stable-fast-pruna; both are imported as sfast. stable-fast is not maintained."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule, missing_package
from lcm_daemon.pipelines.accelerators.tensor_inputs import TensorInputs, tensors_of


class StableFast(Accelerator):
    """TorchScript with fused kernels. It uses the module's own weights, so LoRAs may change them in place."""

    name = "sfast"

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cuda":
            return f"it needs an NVIDIA GPU, and the device is {device.type}"
        if sys.platform == "darwin":
            return "it runs on Linux and Windows only"
        return missing_package("sfast", "stable-fast-pruna, the maintained fork of stable-fast")

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        from sfast.compilers import diffusion_pipeline_compiler

        config = diffusion_pipeline_compiler.CompilationConfig.Default()
        config.enable_cuda_graph = False  # the pipeline captures the whole frame in one graph
        config.preserve_parameters = True
        # compile_unet replaces the forward method: that of this wrapper, so that the module itself stays eager.
        fast: Any = diffusion_pipeline_compiler.compile_unet(TensorInputs(module, example), config)
        fast(*tensors_of(example))

        def run(*arguments: Tensor | None) -> Tensor:
            output: Tensor = fast(*tensors_of(arguments))
            return output

        return run
