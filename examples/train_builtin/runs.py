"""What all steps of a run share: the device, the end of the time, and checkpoints from which each step continues."""

from __future__ import annotations

import math
import signal
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SAVE_SECONDS = 600  # between two checkpoints of a step


class OutOfTimeError(Exception):
    """The time of the run is over. The step has saved its state; the same command continues it."""


@dataclass(frozen=True)
class Run:
    """The settings of a run; they are passed on to every worker process.

    device: "cpu" or "cuda".
    ends: `time.time()` at which the run stops; every step saves its state before.
    batch: how many times as large batches are as on a CPU.
    compiled: compile the denoiser, which takes some minutes and needs a C++ compiler.
    fresh: training images that are painted and encoded again at each step of the denoiser's training, in batches of
        `data.BATCH`; 0 uses the images of the step `data` alone.
    """

    device: str = "cpu"
    ends: float = math.inf
    batch: int = 1
    compiled: bool = True
    fresh: int = 0


class Keeper(Protocol):
    """A model, an optimizer or a learning-rate plan."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


_current = Run()


def start(run: Run) -> None:
    """Use these settings in this process. New tensors are on the run's device from now on."""
    global _current
    _current = run
    torch.set_default_device(run.device)


def stop_on_signals() -> None:
    """End the run as if its time were over when this process is interrupted (Ctrl-C) or terminated."""

    def stop(_number: int, _frame: object) -> None:
        global _current
        _current = replace(_current, ends=0.0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def current() -> Run:
    return _current


def scaled(*counts: int) -> tuple[int, ...]:
    """Return numbers of samples for the run's batch size."""
    return tuple(count * _current.batch for count in counts)


def clock() -> float:
    """Return a clock in seconds for the training times.

    On a CPU, it is the time that this thread computes: other programs and pauses do not shorten a training.
    """
    return time.thread_time() if _current.device == "cpu" else time.monotonic()


def over() -> bool:
    """Return whether the time of the run is over."""
    return time.time() >= _current.ends


def check_time() -> None:
    """Raise OutOfTimeError if the time of the run is over."""
    if over():
        raise OutOfTimeError


def to_device(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor on the run's device."""
    return torch.from_numpy(array).to(_current.device)


def to_array(tensor: Tensor) -> NDArray[Any]:
    return np.asarray(tensor.cpu().contiguous().numpy())


def generator(seed: int) -> torch.Generator:
    """Return a seeded generator on the run's device."""
    return torch.Generator(_current.device).manual_seed(seed)


def read(path: Path) -> Any:
    """Load a checkpoint to the run's device."""
    return torch.load(path, map_location=_current.device, weights_only=True)


def write(path: Path, state: object) -> None:
    """Write a checkpoint; an interruption leaves the old one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.rename(path)


def autocast() -> AbstractContextManager[Any]:
    """Compute in bfloat16 where the device has instructions for it, else in float32."""
    if _current.device == "cpu" and not _has_bfloat16():
        return nullcontext()
    return torch.autocast(_current.device, torch.bfloat16)


def _has_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Progress:
    """How far a step has come: saved every SAVE_SECONDS and when the time is over, removed when the step is done."""

    def __init__(self, path: Path, **parts: Keeper) -> None:
        """Continue from `path` if it exists. `parts` are what the step changes, by name."""
        self.path, self.parts = path, parts
        self.step, self.spent, self._last, self._saved = 0, 0.0, clock(), time.monotonic()
        if path.exists():
            state = read(path)
            for name, part in parts.items():
                part.load_state_dict(state[name])
            self.step, self.spent = state["step"], state["spent"]

    def begin(self) -> None:
        """Start counting the time here: what the step prepared before does not belong to its loop."""
        self._last = clock()

    def count(self) -> None:
        """Count one step of the loop and its time. Save if it is time to.

        Raises:
            OutOfTimeError: The time of the run is over; the state is saved.
        """
        now = clock()
        self.step, self.spent, self._last = self.step + 1, self.spent + now - self._last, now
        if over():
            self.save()
            raise OutOfTimeError
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()
            self._saved = time.monotonic()

    def save(self) -> None:
        state: dict[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        write(self.path, state | {"step": self.step, "spent": self.spent})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
