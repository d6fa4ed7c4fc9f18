"""Acceleration: the modules of one pipeline, compiled while they play or, by compilers that cannot, at load."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from queue import SimpleQueue

import torch
from torch import Tensor, nn

from lcm_daemon.pipelines.accelerators import Tell, choose
from lcm_daemon.pipelines.accelerators.base import Accelerator, AcceleratorError, Compiled, Features

log = logging.getLogger(__name__)

VARIANTS = 16  # compiled forms kept of one module: batch 1 and 2, ControlNets on and off, lengths of prompts

# How far a compiled module may be from the eager one, as a share of the output's norm, by the module's precision.
# 16-bit formats keep 8 to 11 bits and the orders of summation differ; measured with OpenVINO bfloat16: 0.5 %.
_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 0.01, torch.float16: 0.03, torch.bfloat16: 0.06}

Shapes = tuple[tuple[torch.Size, torch.dtype] | None, ...]


@dataclass(frozen=True)
class _Job:
    part: Accelerated
    shapes: Shapes
    example: tuple[Tensor | None, ...]


class Acceleration:
    """One pipeline's compilers and the thread they work in.

    A compiler that may work beside a playing module does so, and the module plays eagerly until it is done. The others
    compile on the first call with new shapes while `loading`, and that call waits; shapes first seen later stay eager.

    name: of the accelerator asked for, or "auto".   tell: gets one line for each that does not work here.
    choices: instead of those that the name stands for.
    """

    def __init__(self, name: str, device: torch.device, features: Features, tell: Tell,
                 choices: list[Accelerator] | None = None) -> None:
        self.choices = choose(name, device, features, tell) if choices is None else choices
        self.loading = True
        self.parts: dict[str, Accelerated] = {}
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self.swaps = 0  # compiled forms put in place so far: who has recorded calls of the parts must record anew
        self._moved = False  # the weights are not those that were there at load
        self._moves = 0
        self._open = 0  # jobs not yet done
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def accelerate(self, part: str, module: nn.Module) -> Accelerated:
        """`module` as a callable that becomes faster while it is used. part: "encoder", "denoiser", "decoder"."""
        self.parts[part] = Accelerated(part, module, self)
        return self.parts[part]

    def names(self) -> dict[str, str]:
        """By part, the accelerator that it plays on at this moment."""
        return {name: part.name for name, part in self.parts.items()}

    @property
    def holds_weights(self) -> bool:
        return any(choice.holds_weights for choice in self.choices)

    @property
    def bypassed(self) -> bool:
        """Compiled forms have other weights than the modules now: what they are compiled from plays."""
        return self._moved and self.holds_weights

    @property
    def moves(self) -> int:
        """How often weights have left where they were at load, or come back."""
        return self._moves

    def follow(self, moved: bool) -> None:
        """Say before a frame whether weights are elsewhere than at load (a LoRA's fader is up)."""
        if moved != self._moved:
            self._moved, self._moves = moved, self._moves + 1

    def wait(self, seconds: float) -> bool:
        """Until everything asked for so far is compiled or refused; whether that was within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, seconds)

    def request(self, job: _Job) -> None:
        """Compile in the background, or here and now; the thread starts with its first job."""
        if not self.choices[0].beside:
            if self.loading:
                self._run(job, self.choices)
            return
        with self._changed:
            self._open += 1
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="accelerate", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            self._run(job, [choice for choice in self.choices if choice.beside])
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _run(self, job: _Job, choices: list[Accelerator]) -> None:
        """The first of `choices` that can; `none` always can."""
        for accelerator in choices:
            if self._try(accelerator, job):
                return

    def _try(self, accelerator: Accelerator, job: _Job) -> bool:
        name = f"{accelerator.name}: {job.part.part}"
        begun, moves = time.perf_counter(), self._moves
        try:
            compiled = _prove(accelerator, job)
            if accelerator.holds_weights and moves != self._moves:
                job.part.forget(job.shapes)  # nobody knows with which weights it was made; the next frame asks again
                return True
        except AcceleratorError as error:
            if accelerator.holds_weights and moves != self._moves:
                job.part.forget(job.shapes)
                return True
            log.warning("%s", error)
        except Exception as error:  # compilers raise anything, and the eager module plays on
            log.warning("%s cannot be compiled: %s", name, _first_line(error))
            log.debug("%s", name, exc_info=True)
        else:
            job.part.swap(job.shapes, accelerator.name, compiled)
            self.swaps += 1
            if accelerator.name != "none":
                log.info("%s is ready after %.1f s", name, time.perf_counter() - begun)
            return True
        return False


class Accelerated:
    """A module that plays eagerly until its compiled form for the shapes at hand is there."""

    def __init__(self, part: str, module: nn.Module, acceleration: Acceleration) -> None:
        self.part, self.module, self.name = part, module, "none"
        self._acceleration = acceleration
        self._variants: dict[Shapes, Compiled] = {}

    def __call__(self, *tensors: Tensor | None) -> Tensor:
        """As the module's forward. The result is good until the next call."""
        if self._acceleration.bypassed:
            return self.module(*tensors)  # type: ignore[no-any-return]
        shapes = _shapes(tensors)
        variant = self._variants.get(shapes)
        if variant is None:
            self._variants[shapes] = self.module
            self._request(shapes, tensors)
            variant = self._variants[shapes]
        return variant(*tensors)

    def swap(self, shapes: Shapes, name: str, compiled: Compiled) -> None:
        """From the next call on, such inputs go to `compiled`."""
        self._variants[shapes] = compiled
        if name != "none":
            self.name = name

    def forget(self, shapes: Shapes) -> None:
        """Ask anew when such inputs come again."""
        self._variants.pop(shapes, None)

    def _request(self, shapes: Shapes, tensors: tuple[Tensor | None, ...]) -> None:
        if self._acceleration.choices[0].name == "none":
            return
        if len(self._variants) > VARIANTS:
            if len(self._variants) == VARIANTS + 1:
                log.info("%s: more than %d shapes of input; further ones stay eager", self.part, VARIANTS)
            return
        example = tuple(None if tensor is None else tensor.clone() for tensor in tensors)
        self._acceleration.request(_Job(self, shapes, example))


@torch.inference_mode()
def _prove(accelerator: Accelerator, job: _Job) -> Compiled:
    """Compile, and hold the result to the eager module's before anybody sees it."""
    module, example = job.part.module, job.example
    compiled = accelerator.compile(job.part.part, module, example)
    if accelerator.name == "none":
        return compiled
    expected = module(*example).float()
    distance = float((compiled(*example).float() - expected).norm() / expected.norm().clamp_min(1e-6))
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    if not distance <= _TOLERANCE.get(dtype, 0.01):  # NaN fails too
        raise AcceleratorError(
            f"{accelerator.name}: {job.part.part} comes out {distance:.1%} away from torch's; not used")
    return compiled


def _shapes(tensors: tuple[Tensor | None, ...]) -> Shapes:
    return tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]:.200}"
