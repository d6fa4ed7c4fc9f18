"""AcceleratorManager: compiles the modules of one pipeline, while they play or, for some compilers, at load."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from queue import PriorityQueue

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators import ReportLine, choose
from lcm_daemon.pipelines.accelerators.base import Accelerator, AcceleratorError, CompiledModule, Features
from lcm_daemon.pipelines.accelerators.heartbeat import Heartbeat
from lcm_daemon.pipelines.accelerators.low_rank import LiveForm
from lcm_daemon.processes.bootstrap import run_at_low_priority

log = logging.getLogger(__name__)

# Limit of compiled variants of one module: batch 1 and 2, ControlNets on and off, lengths of prompts, LoRAs up or not.
VARIANTS = 32

# Largest accepted distance of a compiled module's output from the eager one's, relative to the output's norm, by the
# module's precision. 16-bit formats keep 8 to 11 bits, and the order of summation differs; OpenVINO bfloat16 was
# measured at 0.5 %.
_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 0.01, torch.float16: 0.03, torch.bfloat16: 0.06}

_EXAMPLE_SCALE = 0.5  # of every LoRA in the example that a live form is compiled and verified with

FIRST_PICTURES = 0.5  # seconds without a compilation beside them

Shapes = tuple[tuple[torch.Size, torch.dtype] | None, ...]


@dataclass(frozen=True)
class _CompileJob:
    """A module to compile for an example's shapes.

    make_form: Makes what is compiled: the module itself, or that of its `LiveForm` if `live` is set.
    """

    module: AcceleratedModule
    make_form: Callable[[], nn.Module]
    live: bool
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
        self._features = features
        self.loading = True
        self._late: set[str] = set()  # parts that have got inputs which were not compiled
        self.parts: dict[str, AcceleratedModule] = {}
        self._jobs: PriorityQueue[tuple[bool, int, _CompileJob]] = PriorityQueue()  # live forms last
        self._numbers = count()
        self.installs = 0
        self._weights_moved = False  # the weights differ from those at load
        self._weight_moves = 0
        self._pending = 0  # jobs that are not done
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_held = False

    def accelerate(
        self, part: str, module: nn.Module, moves: bool = True, make_live: Callable[[], LiveForm | None] | None = None
    ) -> AcceleratedModule:
        """Wrap `module` in a callable that becomes faster while it is used.

        Args:
            part: "encoder", "denoiser" or "decoder".
            module: the module.
            moves: whether LoRAs may change its weights while it plays.
            make_live: makes its form with LoRA weights as an input; called where an accelerator needs that.
        """
        baking = next((choice for choice in self.choices if choice.bakes_weights), None)
        needs_live = moves and make_live is not None and baking is not None and baking.takes_live_form
        live = make_live() if needs_live and make_live is not None else None
        if moves and self._features.live_weights and baking is not None and live is None:
            log.info("%s: %s plays eagerly while a LoRA's fader is off its loaded weight", baking.name, part)
        self.parts[part] = AcceleratedModule(part, module, self, moves, live)
        return self.parts[part]

    def active_names(self) -> dict[str, str]:
        """Name of the accelerator that each part uses now, by part."""
        return {name: part.name for name, part in self.parts.items()}

    @property
    def bakes_weights(self) -> bool:
        return any(choice.bakes_weights for choice in self.choices)

    @property
    def bypassed(self) -> bool:
        """Whether an eager module is used because the compiled one contains other weights."""
        return self._weights_moved and self.bakes_weights and any(
            part.moves and part.live is None for part in self.parts.values())

    @property
    def weights_moved(self) -> bool:
        """Whether the weights differ from those at load."""
        return self._weights_moved

    @property
    def keeps_plain(self) -> bool:
        """Whether a module with a live form is compiled without LoRAs too, for frames in which none is up.

        That costs a second compilation, and twice the memory. Where it compiles in the background, no frame waits.
        """
        return self.choices[0].compiles_in_background

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
            else:
                self._warn_late(job.module.part)
            return
        with self._changed:
            self._pending += 1
        self._jobs.put((job.live, next(self._numbers), job))
        self._start_thread()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Compile nothing in the background while this is open, nor while the first pictures are rendered after it."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            if not self._jobs.empty():
                self._start_thread(FIRST_PICTURES)

    def _start_thread(self, delay: float = 0.0) -> None:
        if self._thread is None and not self._is_held:
            self._thread = threading.Thread(target=self._compile_jobs, args=(delay,), name="accelerate", daemon=True)
            self._thread.start()

    def _warn_late(self, part: str) -> None:
        """Say once that inputs came which were not compiled, and what would be compiled."""
        if part not in self._late:
            self._late.add(part)
            log.warning("%s: the %s gets inputs of a size that was not there when the recipe loaded; such frames play "
                        "uncompiled. What a show plays belongs in the recipe's parameters: a long prompt, guidance "
                        "above 1", self.choices[0].name, part)

    def _compile_at_load(self, job: _CompileJob) -> None:
        """Compile while the caller waits, at low priority if another engine renders, and report that it works."""
        work = functools.partial(self._compile, job, self.choices)
        with Heartbeat(self._report, f"compiling the {job.module.part}"):
            if self._beside:
                run_at_low_priority(functools.partial(_run_on, self._device, work))
            else:
                work()

    def _compile_jobs(self, delay: float) -> None:
        if delay:
            time.sleep(delay)
        while True:
            _, _, job = self._jobs.get()
            self._compile(job, [choice for choice in self.choices if choice.compiles_in_background])
            with self._changed:
                self._pending -= 1
                self._changed.notify_all()

    def _compile(self, job: _CompileJob, choices: list[Accelerator]) -> None:
        """Use the first of `choices` that succeeds; `none` always does."""
        for accelerator in choices:
            if self._try(accelerator, job):
                return

    def _try(self, accelerator: Accelerator, job: _CompileJob, is_second: bool = False) -> bool:
        """Compile and install; whether the job is done. is_second: What lay in the cache was wrong, and is gone."""
        name = f"{accelerator.name}: {job.module.part}{' with LoRAs' if job.live else ''}"
        started, moves = time.perf_counter(), self._weight_moves
        is_movable = accelerator.bakes_weights and job.module.moves and not job.live
        try:
            compiled = _compile_and_verify(accelerator, job)
            if is_movable and moves != self._weight_moves:
                job.module.remove(job)  # it is unknown which weights it contains; the next frame asks again
                return True
        except AcceleratorError as error:
            if is_movable and moves != self._weight_moves:
                job.module.remove(job)
                return True
            if not is_second and accelerator.drop_damaged(error):
                return self._try(accelerator, job, is_second=True)
            log.warning("%s", error)
        except Exception as error:  # compilers raise anything; the eager module keeps playing
            log.warning("%s cannot be compiled: %s", name, _first_line(error))
            log.debug("%s", name, exc_info=True)
        else:
            job.module.install(job, accelerator.name, compiled)
            if accelerator.any_shape and not job.live:
                job.module.any_shape = compiled
            self.installs += 1
            if accelerator.name != "none":
                log.info("%s is ready after %.1f s", name, time.perf_counter() - started)
            return True
        return False


class AcceleratedModule:
    """A module that runs eagerly until the compiled variant for the shapes of its inputs is installed.

    Attributes:
        any_shape: A compiled variant that takes every shape: it is used for shapes that come after loading.
    """

    def __init__(self, part: str, module: nn.Module, manager: AcceleratorManager, moves: bool,
                 live: LiveForm | None) -> None:
        self.part, self.module, self.moves, self.live, self.name = part, module, moves, live, "none"
        self.any_shape: CompiledModule | None = None
        self._manager = manager
        self._variants: dict[tuple[bool, Shapes], CompiledModule] = {}

    def __call__(self, *tensors: Tensor | None) -> Tensor:
        """Call the module. The result is valid until the next call."""
        live = self.live
        if live is not None and (self._manager.weights_moved or not self._manager.keeps_plain):
            return self._variant(True, tensors)(live.scales(), *tensors)
        if self.moves and self._manager.weights_moved and self._manager.bakes_weights:
            return self.module(*tensors)  # type: ignore[no-any-return]
        return self._variant(False, tensors)(*tensors)

    def install(self, job: _CompileJob, name: str, compiled: CompiledModule) -> None:
        """Use `compiled` for inputs like the job's. name: that of its accelerator."""
        if name == "none":
            compiled = self._run_eagerly if job.live else self.module
            if job.live and not self._manager.keeps_plain:
                self.drop_live(self._manager.choices[0].name)
        else:
            self.name = name
        self._variants[job.live, job.shapes] = compiled

    def forget(self) -> None:
        """Drop every variant: the module is another one now."""
        self._variants.clear()

    def drop_live(self, accelerator: str) -> None:
        """Compile and play the module as if it had no live form, since that cannot be compiled."""
        self.live = None
        log.warning("%s: %s plays eagerly while a LoRA's fader is off its loaded weight", accelerator, self.part)

    def remove(self, job: _CompileJob) -> None:
        """Remove a job's variant, so that it is requested again when such inputs come."""
        self._variants.pop((job.live, job.shapes), None)

    def _variant(self, live: bool, tensors: tuple[Tensor | None, ...]) -> CompiledModule:
        """What runs such inputs now. The first time, its compilation is requested."""
        key = live, _shapes(tensors)
        if key not in self._variants:
            self._request(live, tensors)
            if self.live is not None and not live:  # it should be there before a fader is moved
                self._request(True, tensors)
        return self._variants[key]

    def _request(self, live: bool, tensors: tuple[Tensor | None, ...]) -> None:
        key = live, _shapes(tensors)
        if key in self._variants:
            return
        self._variants[key] = self._run_eagerly if live else self.any_shape or self.module
        if self._manager.choices[0].name == "none" or (self.any_shape is not None and not self._manager.loading):
            return
        if len(self._variants) > VARIANTS:
            if len(self._variants) == VARIANTS + 1:
                log.info("%s: more than %d input shapes; further ones stay eager", self.part, VARIANTS)
            return
        make_form = self.live.make if live and self.live is not None else lambda: self.module
        example = tuple(None if tensor is None else tensor.clone() for tensor in tensors)
        if live and self.live is not None:
            example = torch.full_like(self.live.scales(), _EXAMPLE_SCALE), *example
        self._manager.request(_CompileJob(self, make_form, live, key[1], example))

    def _run_eagerly(self, scales: Tensor, *tensors: Tensor | None) -> Tensor:
        """Run the module itself, whose weights have the LoRAs in them."""
        return self.module(*tensors)  # type: ignore[no-any-return]


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
    module, example = job.make_form(), job.example
    compiled = accelerator.compile(job.module.part, module, example)
    if accelerator.name == "none":
        return compiled
    expected = module(*example).float()
    distance = float((compiled(*example).float() - expected).norm() / expected.norm().clamp_min(1e-6))
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    if not distance <= max(getattr(compiled, "tolerance", 0.0), _TOLERANCE.get(dtype, 0.01)):  # NaN fails too
        raise AcceleratorError(
            f"{accelerator.name}: {job.module.part} differs from torch's result by {distance:.1%}; it is not used")
    return compiled


def _shapes(tensors: tuple[Tensor | None, ...]) -> Shapes:
    return tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]:.200}"
