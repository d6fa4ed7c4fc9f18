"""OpenVINO: static shapes, weights as constants, inputs and outputs in memory shared with torch.

The module is traced in this process. A process of its own compiles it, which may crash or take long while the eager
module plays. Several contenders (float on the CPU, int8 where the model says how, an Intel GPU) run there alternately,
and the fastest is kept. Modules in 16 bits are computed in bfloat16 on processors that support it natively.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators.base import (
    Accelerator,
    AcceleratorError,
    CompiledModule,
    Features,
    missing_package,
)
from lcm_daemon.pipelines.accelerators.cache import CompileCache, fingerprint
from lcm_daemon.pipelines.accelerators.openvino_contenders import Contender, attempts, list_contenders, read_winner
from lcm_daemon.pipelines.accelerators.openvino_devices import gpus
from lcm_daemon.pipelines.accelerators.openvino_trace import trace
from lcm_daemon.pipelines.accelerators.tensor_inputs import tensors_of

TIMEOUT = 3600  # seconds for one module, in the background; SD-Turbo's UNet takes one or two minutes on an idle machine

log = logging.getLogger(__name__)

_DAMAGED = (RuntimeError, ValueError, TypeError, KeyError)  # what reading a damaged file raises


class OpenVino(Accelerator):
    """Compiles each module into an OpenVINO model, stored in the user's cache."""

    name = "openvino"
    compiles_in_background = True
    bakes_weights = True
    takes_live_form = True

    def __init__(self, device: torch.device, features: Features, cache: CompileCache | None = None) -> None:
        super().__init__(device, features)
        self._cache = cache or CompileCache(self.name)
        self._found: Path | None = None  # what the last compilation has read from the cache

    @cached_property
    def _devices(self) -> list[str]:
        """The devices to try. Found when something is compiled: OpenVINO's import would delay the first picture."""
        wanted = self.features.openvino_device
        return [wanted] if wanted else ["CPU", *gpus()]

    @classmethod
    def probe(cls, device: torch.device) -> str:
        if device.type != "cpu":
            return f"it runs on the CPU, Intel GPUs and NPUs, and the device is {device.type}"
        return missing_package("openvino", '"lcm-daemon[openvino]"')

    def _compile(self, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> CompiledModule:
        import openvino

        int8 = self.features.int8.get(part)
        contenders = list_contenders(module, int8, self._devices)
        name = fingerprint(module, example, openvino.__version__, repr(contenders), repr(int8), sys.platform,
                           torch.backends.cpu.get_cpu_capability())
        name = f"{part}-{name}.blob"
        self._found = self._cache.find(name)
        if self._found is not None:
            try:
                return _load(part, self._found)
            except _DAMAGED as error:
                self.drop_damaged(error)
        try:
            return _load(part, self._build(part, name, module, example, contenders))
        except _DAMAGED as error:
            self._cache.remove(name)
            raise AcceleratorError(f"{part}: OpenVINO cannot read what it has compiled: {error}") from error

    def drop_damaged(self, error: Exception) -> bool:
        if self._found is None:
            return False
        log.warning("openvino: the cached model %s is damaged (%s); it is deleted and compiled again", self._found,
                    str(error).partition("\n")[0][:200])
        self._cache.remove(self._found.name)
        self._found = None
        return True

    def _build(self, part: str, name: str, module: nn.Module, example: tuple[Tensor | None, ...],
               contenders: Sequence[Contender]) -> Path:
        with self._cache.work_folder() as folder:
            trace(module, example, folder / "traced.pt", self.features.int8.get(part))
            tensors = {str(place): each.float().contiguous().clone() for place, each in enumerate(tensors_of(example))}
            save_file(tensors, folder / "example.safetensors")
            reasons = []
            for attempt in attempts(contenders):
                if not (reason := _run_compiler(folder, attempt)):
                    return self._cache.store(folder / "model.blob", name)
                reasons.append(reason)
            raise AcceleratorError(f"{part}: OpenVINO's compiler {reasons[-1]}")


def _load(part: str, file: Path) -> CompiledModule:
    """Load a compiled model. Raises one of _DAMAGED."""
    import openvino

    winner, seconds, blob = read_winner(file)
    compiled = openvino.Core().import_model(blob, winner.device, dict(winner.properties))
    log.info("openvino: %s runs as %s (%s)", part, winner.name, _milliseconds(seconds))
    return _InferRequest(compiled, winner.tolerance)


def _milliseconds(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {1000 * each:.1f} ms" for name, each in seconds.items())


def _run_compiler(folder: Path, contenders: Sequence[Contender]) -> str:
    """Run the compiler process; returns "" on success, else the reason. It ends when this process ends."""
    command = [sys.executable, "-m", "lcm_daemon.pipelines.accelerators.openvino_compile", str(folder),
               json.dumps([asdict(each) for each in contenders])]
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

    def __init__(self, compiled: Any, tolerance: float) -> None:
        import openvino

        if tolerance:
            self.tolerance = tolerance
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
