"""AcceleratorManager: compiles the modules of one pipeline, while they play or, for some compilers, at load."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators import ReportLine, choose
from lcm_daemon.pipelines.accelerators.base import Accelerator, AcceleratorError, CompiledModule, Features
from lcm_daemon.pipelines.accelerators.heartbeat import Heartbeat
from lcm_daemon.processes.bootstrap import run_at_low_priority

log = logging.getLogger(__name__)

VARIANTS = 16  # limit of compiled variants of one module: batch 1 and 2, ControlNets on and off, lengths of prompts

# Largest accepted distance of a compiled module's output from the eager one's, relative to the output's norm, by the
# module's precision. 16-bit formats keep 8 to 11 bits, and the order of summation differs; OpenVINO bfloat16 was
# measured at 0.5 %.
_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 0.01, torch.float16: 0.03, torch.bfloat16: 0.06}

Shapes = tuple[tuple[torch.Size, torch.dtype] | None, ...]


@dataclass(frozen=True)
class _CompileJob:
    module: AcceleratedModule
    shapes: Shapes
    example: tuple[Tensor | None, ...]


class AcceleratorManager:
    """The accelerators of one pipeline, and the thread in which they compile.

    If an accelerator may compile in the background, the module plays eagerly until its compiled variant is ready.
    Other accelerators compile during the first call with new shapes while `loading` is True, and that call waits;
    shapes that first appear later stay eager.

    Args:
        name: name of the requested accelerator, or "auto".
        device: where the recipe runs.
        features: what the pipeline does that an accelerator has to know.
        report: called with one line for each accelerator that does not work here.
        choices: accelerators to use instead of those that `name` selects.

    Attributes:
        choices: the accelerators to try, best first.
        loading: whether the pipeline is still loading, so that calls may wait for a compiler.
        parts: accelerated modules by part.
        installs: number of compiled variants installed so far; recorded CUDA graphs are valid for one value only.
    """

    def __init__(self, name: str, device: torch.device, features: Features, report: ReportLine,
                 choices: list[Accelerator] | None = None) -> None:
        self.choices = choose(name, device, features, report) if choices is None else choices
        self._report, self._device, self._beside = report, device, features.beside
        self.loading = True
        self.parts: dict[str, AcceleratedModule] = {}
        self._jobs: SimpleQueue[_CompileJob] = SimpleQueue()
        self.installs = 0
        self._weights_moved = False  # the weights differ from those at load
        self._weight_moves = 0
        self._pending = 0  # jobs that are not done
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def accelerate(self, part: str, module: nn.Module) -> AcceleratedModule:
        """Wrap `module` in a callable that becomes faster while it is used.

        Args:
            part: "encoder", "denoiser" or "decoder".
            module: the module.
        """
        self.parts[part] = AcceleratedModule(part, module, self)
        return self.parts[part]

    def active_names(self) -> dict[str, str]:
        """Name of the accelerator that each part uses now, by part."""
        return {name: part.name for name, part in self.parts.items()}

    @property
    def bakes_weights(self) -> bool:
        return any(choice.bakes_weights for choice in self.choices)

    @property
    def bypassed(self) -> bool:
        """Whether the eager modules are used, because the compiled ones contain other weights."""
        return self._weights_moved and self.bakes_weights

    @property
    def weight_moves(self) -> int:
        """How often the weights have left their values of load time, or returned to them."""
        return self._weight_moves

    def set_weights_moved(self, moved: bool) -> None:
        """Set, before a frame, whether the weights differ from those at load (a LoRA's fader is up)."""
        if moved != self._weights_moved:
            self._weights_moved, self._weight_moves = moved, self._weight_moves + 1

    def wait(self, seconds: float) -> bool:
        """Wait until all requested modules are compiled or refused; False if that takes longer than `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, seconds)

    def request(self, job: _CompileJob) -> None:
        """Compile in the background, or at once. The thread starts with its first job."""
        if not self.choices[0].compiles_in_background:
            if self.loading:
                self._compile_at_load(job)
            return
        with self._changed:
            self._pending += 1
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._compile_jobs, name="accelerate", daemon=True)
            self._thread.start()

    def _compile_at_load(self, job: _CompileJob) -> None:
        """Compile while the caller waits, at low priority if another engine renders, and report that it works."""
        work = functools.partial(self._compile, job, self.choices)
        with Heartbeat(self._report, f"compiling the {job.module.part}"):
            if self._beside:
                run_at_low_priority(functools.partial(_run_on, self._device, work))
            else:
                work()

    def _compile_jobs(self) -> None:
        while True:
            job = self._jobs.get()
            self._compile(job, [choice for choice in self.choices if choice.compiles_in_background])
            with self._changed:
                self._pending -= 1
                self._changed.notify_all()

    def _compile(self, job: _CompileJob, choices: list[Accelerator]) -> None:
        """Use the first of `choices` that succeeds; `none` always does."""
        for accelerator in choices:
            if self._try(accelerator, job):
                return

    def _try(self, accelerator: Accelerator, job: _CompileJob) -> bool:
        """Compile and install; whether the job is done."""
        name = f"{accelerator.name}: {job.module.part}"
        started, moves = time.perf_counter(), self._weight_moves
        try:
            compiled = _compile_and_verify(accelerator, job)
            if accelerator.bakes_weights and moves != self._weight_moves:
                job.module.remove(job.shapes)  # it is unknown which weights it contains; the next frame asks again
                return True
        except AcceleratorError as error:
            if accelerator.bakes_weights and moves != self._weight_moves:
                job.module.remove(job.shapes)
                return True
            log.warning("%s", error)
        except Exception as error:  # compilers raise anything; the eager module keeps playing
            log.warning("%s cannot be compiled: %s", name, _first_line(error))
            log.debug("%s", name, exc_info=True)
        else:
            job.module.install(job.shapes, accelerator.name, compiled)
            self.installs += 1
            if accelerator.name != "none":
                log.info("%s is ready after %.1f s", name, time.perf_counter() - started)
            return True
        return False


class AcceleratedModule:
    """A module that runs eagerly until the compiled variant for the shapes of its inputs is installed."""

    def __init__(self, part: str, module: nn.Module, manager: AcceleratorManager) -> None:
        self.part, self.module, self.name = part, module, "none"
        self._manager = manager
        self._variants: dict[Shapes, CompiledModule] = {}

    def __call__(self, *tensors: Tensor | None) -> Tensor:
        """Call the module. The result is valid until the next call."""
        if self._manager.bypassed:
            return self.module(*tensors)  # type: ignore[no-any-return]
        shapes = _shapes(tensors)
        variant = self._variants.get(shapes)
        if variant is None:
            self._variants[shapes] = self.module
            self._request(shapes, tensors)
            variant = self._variants[shapes]
        return variant(*tensors)

    def install(self, shapes: Shapes, name: str, compiled: CompiledModule) -> None:
        """Use `compiled` for inputs of these shapes. name: that of its accelerator."""
        self._variants[shapes] = compiled
        if name != "none":
            self.name = name

    def remove(self, shapes: Shapes) -> None:
        """Remove a variant, so that it is requested again when such inputs come."""
        self._variants.pop(shapes, None)

    def _request(self, shapes: Shapes, tensors: tuple[Tensor | None, ...]) -> None:
        if self._manager.choices[0].name == "none":
            return
        if len(self._variants) > VARIANTS:
            if len(self._variants) == VARIANTS + 1:
                log.info("%s: more than %d input shapes; further ones stay eager", self.part, VARIANTS)
            return
        example = tuple(None if tensor is None else tensor.clone() for tensor in tensors)
        self._manager.request(_CompileJob(self, shapes, example))


def _run_on(device: torch.device, work: Callable[[], None]) -> None:
    """Run `work` on another thread than the one that loads: each has a current device and stream of its own."""
    if device.type != "cuda":
        work()
        return
    with torch.cuda.device(device):
        torch.cuda.synchronize(device)  # the example is there
        work()
        torch.cuda.synchronize(device)


@torch.inference_mode()
def _compile_and_verify(accelerator: Accelerator, job: _CompileJob) -> CompiledModule:
    """Compile, and compare the result with the eager module's before it is used."""
    module, example = job.module.module, job.example
    compiled = accelerator.compile(job.module.part, module, example)
    if accelerator.name == "none":
        return compiled
    expected = module(*example).float()
    distance = float((compiled(*example).float() - expected).norm() / expected.norm().clamp_min(1e-6))
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    if not distance <= _TOLERANCE.get(dtype, 0.01):  # NaN fails too
        raise AcceleratorError(
            f"{accelerator.name}: {job.module.part} differs from torch's result by {distance:.1%}; it is not used")
    return compiled


def _shapes(tensors: tuple[Tensor | None, ...]) -> Shapes:
    return tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]:.200}"
