"""TensorRT through the dynamo frontend of torch_tensorrt: one engine per module, stored in the user's cache.

LoRAs that move are inputs of the engine. Refitting an engine (`torch_tensorrt.dynamo.refit_module_weights`) takes
seconds for a large UNet, which is too long for a fader.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.core.paths import cache_folder
from lcm_daemon.pipelines.accelerators.base import Accelerator, CompiledModule, missing_package
from lcm_daemon.pipelines.accelerators.cache import SIZE_LIMIT
from lcm_daemon.pipelines.accelerators.cache_manifest import CacheManifest
from lcm_daemon.pipelines.accelerators.tensor_inputs import TensorInputs, tensors_of


class TensorRt(Accelerator):
    """Engines in the module's own precision. Operations that TensorRT does not support run in torch."""

    name = "tensorrt"
    bakes_weights = True
    takes_live_form = True

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cuda":
            return f"it needs an NVIDIA GPU, and the device is {device.type}"
        return missing_package("torch_tensorrt", '"lcm-daemon[tensorrt]"')

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        import torch_tensorrt
        from torch_tensorrt.dynamo import compile as compile_dynamo

        folder = cache_folder() / self.name
        folder.mkdir(parents=True, exist_ok=True)
        manifest = CacheManifest(folder)
        manifest.drop_damaged()
        with torch.inference_mode(False), torch.no_grad():  # torch.export does not accept inference tensors
            tensors = tuple(tensor.clone() for tensor in tensors_of(example))
            engine: Any = torch_tensorrt.compile(
                TensorInputs(module, example), ir="dynamo", arg_inputs=tensors, truncate_double=True,
                timing_cache_path=str(folder / "timing.bin"), immutable_weights=False, cache_built_engines=True,
                reuse_cached_engines=True, engine_cache_dir=str(folder), engine_cache_size=SIZE_LIMIT,
                **_typing(compile_dynamo))
        with contextlib.suppress(OSError):  # a full disk: the files that were written are not known as whole
            manifest.note()

        def run(*arguments: Tensor | None) -> Tensor:
            output: Tensor = engine(*tensors_of(arguments))
            return output

        return run


def _typing(compile_dynamo: Callable[..., Any]) -> dict[str, bool]:
    """The setting that keeps the module's precision.

    Without explicit types `enabled_precisions` decides, and its default is float32. torch_tensorrt 2.11 has them by
    default, versions before it do not. Version 2.13 always has them, and no such setting.
    """
    name = "use_explicit_typing"
    return {name: True} if name in inspect.signature(compile_dynamo).parameters else {}
