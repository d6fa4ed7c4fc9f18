"""OpenVINO on the CPU: static shapes, weights as constants, inputs and outputs in memory shared with torch.

The module is traced here; the rest is done by a process of its own, which may crash or take its time while the eager
module plays. The plugin computes in bfloat16 where the module did, on processors that multiply it natively.
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

from lcm_daemon.pipelines.accelerators.base import Accelerator, AcceleratorError, Compiled, Features, missing
from lcm_daemon.pipelines.accelerators.cache import Cache, fingerprint
from lcm_daemon.pipelines.accelerators.given import tensors_of
from lcm_daemon.pipelines.accelerators.openvino_trace import trace

SECONDS = 3600  # for one module, in the background: SD-Turbo's UNet takes a minute or two, on a busy machine many

# Tried in turn. OpenVINO 2026.4 crashes on small attention heads in float32 while it fuses operations into snippets.
_ATTEMPTS: tuple[Mapping[str, str], ...] = ({}, {"SNIPPETS_MODE": "DISABLE"})


class OpenVino(Accelerator):
    """Each module a compiled model of its own, kept in the user's cache."""

    name = "openvino"
    beside = True
    holds_weights = True

    def __init__(self, device: torch.device, features: Features, cache: Cache | None = None) -> None:
        super().__init__(device, features)
        self._cache = cache or Cache(self.name)

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cpu":
            return f"it is for the CPU, and the recipe runs on {device.type}"
        return missing("openvino", '"lcm-daemon[openvino]"')

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Compiled:
        import openvino

        properties = _properties(module)
        name = fingerprint(module, example, openvino.__version__, json.dumps(properties), sys.platform,
                           torch.backends.cpu.get_cpu_capability())
        file = self._cache.find(f"{part}-{name}.blob") or self._make(part, f"{part}-{name}.blob", module, example,
                                                                     properties)
        try:
            compiled = openvino.Core().import_model(file.read_bytes(), "CPU", properties)
        except RuntimeError as error:
            self._cache.drop(file.name)
            raise AcceleratorError(f"{part}: the cached model could not be read, it will be made anew") from error
        return _Request(compiled, example)

    def _make(self, part: str, name: str, module: nn.Module, example: tuple[Tensor | None, ...],
              properties: Mapping[str, str]) -> Path:
        with self._cache.workplace() as place:
            traced, blob = place / "traced.pt", place / "model.blob"
            trace(module, example, traced)
            shapes = [tuple(tensor.shape) for tensor in tensors_of(example)]
            reasons = []
            for attempt in _ATTEMPTS:
                if not (reason := _run_compiler(traced, blob, json.dumps(shapes), {**properties, **attempt})):
                    return self._cache.keep(blob, name)
                reasons.append(reason)
            raise AcceleratorError(f"{part}: OpenVINO's compiler {reasons[-1]}")


def _properties(module: nn.Module) -> dict[str, str]:
    """One stream, for latency. No pinning: the stage and the desk need these cores too."""
    half = any(parameter.dtype in (torch.bfloat16, torch.float16) for parameter in module.parameters())
    return {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()), "ENABLE_CPU_PINNING": "NO"}


def _run_compiler(traced: Path, blob: Path, shapes: str, properties: Mapping[str, str]) -> str:
    """Empty when the blob is there, else what happened. The compiler ends when this process does: its input ends."""
    command = [sys.executable, "-m", "lcm_daemon.pipelines.accelerators.openvino_compile", str(traced), str(blob),
               shapes, json.dumps(properties)]
    theirs, ours = os.pipe()
    try:
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"took more than {SECONDS} s"
    finally:
        os.close(theirs)
        os.close(ours)
    if done.returncode < 0:
        return f"crashed (signal {-done.returncode})"
    lines = done.stderr.strip().splitlines() or ["said nothing"]
    return f"failed: {lines[-1]:.200}" if done.returncode else ""


class _Request:
    """One inference request over float32 buffers of its own, shared with torch. Every call writes the output anew."""

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
