"""OpenVINO on the CPU: static shapes, weights as constants, inputs and outputs in memory shared with torch.

The module is traced in this process. A process of its own compiles it, which may crash or take long while the eager
module plays. Modules in 16 bits are computed in bfloat16 on processors that support it natively.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import (
    Accelerator,
    AcceleratorError,
    CompiledModule,
    Features,
    missing_package,
)
from lcm_daemon.pipelines.accelerators.cache import CompileCache, fingerprint
from lcm_daemon.pipelines.accelerators.openvino_trace import trace
from lcm_daemon.pipelines.accelerators.tensor_inputs import tensors_of

TIMEOUT = 3600  # seconds for one module, in the background; SD-Turbo's UNet takes one or two minutes on an idle machine

# Tried one after another. OpenVINO 2026.4 crashes on small float32 attention heads while it fuses them into snippets.
_ATTEMPTS: tuple[Mapping[str, str], ...] = ({}, {"SNIPPETS_MODE": "DISABLE"})


class OpenVino(Accelerator):
    """Compiles each module into an OpenVINO model, stored in the user's cache."""

    name = "openvino"
    compiles_in_background = True
    bakes_weights = True

    def __init__(self, device: torch.device, features: Features, cache: CompileCache | None = None) -> None:
        super().__init__(device, features)
        self._cache = cache or CompileCache(self.name)

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cpu":
            return f"it runs on the CPU only, and the device is {device.type}"
        return missing_package("openvino", '"lcm-daemon[openvino]"')

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        import openvino

        properties = _properties(module)
        name = fingerprint(module, example, openvino.__version__, json.dumps(properties), sys.platform,
                           torch.backends.cpu.get_cpu_capability())
        name = f"{part}-{name}.blob"
        file = self._cache.find(name) or self._build(part, name, module, example, properties)
        try:
            compiled = openvino.Core().import_model(file.read_bytes(), "CPU", properties)
        except RuntimeError as error:
            self._cache.remove(file.name)
            raise AcceleratorError(
                f"{part}: the cached model cannot be read; it is compiled again at the next start") from error
        return _InferRequest(compiled, example)

    def _build(self, part: str, name: str, module: nn.Module, example: tuple[Tensor | None, ...],
               properties: Mapping[str, str]) -> Path:
        with self._cache.work_folder() as folder:
            traced, blob = folder / "traced.pt", folder / "model.blob"
            trace(module, example, traced)
            shapes = [tuple(tensor.shape) for tensor in tensors_of(example)]
            reasons = []
            for attempt in _ATTEMPTS:
                if not (reason := _run_compiler(traced, blob, json.dumps(shapes), {**properties, **attempt})):
                    return self._cache.store(blob, name)
                reasons.append(reason)
            raise AcceleratorError(f"{part}: OpenVINO's compiler {reasons[-1]}")


def _properties(module: nn.Module) -> dict[str, str]:
    """One stream, for latency. No CPU pinning: the stage and the desk need these cores too."""
    half = any(parameter.dtype in (torch.bfloat16, torch.float16) for parameter in module.parameters())
    return {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()), "ENABLE_CPU_PINNING": "NO"}


def _run_compiler(traced: Path, blob: Path, shapes: str, properties: Mapping[str, str]) -> str:
    """Run the compiler process; returns "" on success, else the reason. It ends when this process ends."""
    command = [sys.executable, "-m", "lcm_daemon.pipelines.accelerators.openvino_compile", str(traced), str(blob),
               shapes, json.dumps(properties)]
    theirs, ours = os.pipe()
    try:
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"took more than {TIMEOUT} s"
    finally:
        os.close(theirs)
        os.close(ours)
    if done.returncode < 0:
        return f"crashed (signal {-done.returncode})"
    lines = done.stderr.strip().splitlines() or ["no message"]
    return f"failed: {lines[-1]:.200}" if done.returncode else ""


class _InferRequest:
    """An inference request with float32 buffers that it shares with torch. Every call overwrites the output."""

    def __init__(self, compiled: Any, example: tuple[Tensor | None, ...]) -> None:
        import openvino

        self._request = compiled.create_infer_request()
        self._inputs = [torch.zeros(tuple(port.shape)) for port in compiled.inputs]
        self._output = torch.zeros(tuple(compiled.output(0).shape))
        for index, tensor in enumerate(self._inputs):
            self._request.set_input_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
        self._request.set_output_tensor(0, openvino.Tensor(self._output.numpy(), shared_memory=True))

    def __call__(self, *tensors: Tensor | None) -> Tensor:
        for buffer, tensor in zip(self._inputs, tensors_of(tensors), strict=True):
            buffer.copy_(tensor)
        self._request.infer()
        return self._output
