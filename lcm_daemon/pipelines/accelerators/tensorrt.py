"""TensorRT through torch_tensorrt's dynamo frontend: one engine a module, kept in our cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.core.paths import cache_folder
from lcm_daemon.pipelines.accelerators.base import Accelerator, Compiled, missing
from lcm_daemon.pipelines.accelerators.cache import LIMIT
from lcm_daemon.pipelines.accelerators.given import Given, tensors_of


class TensorRt(Accelerator):
    """Engines in the module's own precision. What TensorRT has no layer for stays in torch."""

    name = "tensorrt"
    holds_weights = True

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cuda":
            return f"it is for NVIDIA GPUs, and the recipe runs on {device.type}"
        return missing("torch_tensorrt", '"lcm-daemon[tensorrt]"')

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled:
        import torch_tensorrt

        folder = cache_folder() / self.name
        folder.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode(False), torch.no_grad():  # torch.export does not take inference tensors
            tensors = tuple(tensor.clone() for tensor in tensors_of(example))
            engine: Any = torch_tensorrt.compile(
                Given(module, example), ir="dynamo", arg_inputs=tensors, truncate_double=True,
                timing_cache_path=str(folder / "timing.bin"), immutable_weights=False, cache_built_engines=True,
                reuse_cached_engines=True, engine_cache_dir=str(folder), engine_cache_size=LIMIT)

        def run(*given: Tensor | None) -> Tensor:
            output: Tensor = engine(*tensors_of(given))
            return output

        return run
