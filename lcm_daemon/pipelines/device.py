"""Device: what a recipe runs on and in which precision, and a stopwatch that suits it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.recipe import Recipe

DTYPES: Mapping[str, torch.dtype] = {
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32,
}


def choose_device(recipe: Recipe) -> torch.device:
    """The recipe's device, or for "auto" the best there is. Raises RecipeError where the named one is not there."""
    if recipe.device == "auto":
        return torch.device(next(name for name, present in _PRESENT.items() if present()))
    device = torch.device(recipe.device)
    if not _PRESENT[device.type]() or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise RecipeError(f"recipe {recipe.name}: torch {torch.__version__} sees no {recipe.device}; use device: auto")
    return device


_PRESENT: Mapping[str, Callable[[], bool]] = {  # the best first
    "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True,
}


def choose_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """The recipe's precision, or for "auto" the fastest that the device is at home in."""
    return DTYPES[recipe.dtype] if recipe.dtype != "auto" else _AUTO[device.type]()


def _cpu_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it natively (AVX512-BF16 or AMX), else float32.

    Without these instructions oneDNN emulates bfloat16 and is slower than float32.
    """
    native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return torch.bfloat16 if any(getattr(torch.cpu, name, bool)() for name in native) else torch.float32


_AUTO: Mapping[str, Callable[[], torch.dtype]] = {
    "cuda": lambda: torch.float16, "mps": lambda: torch.float16, "cpu": _cpu_dtype,
}


def describe(device: torch.device) -> str:
    """For people: "cuda:0 (NVIDIA H100)", "cpu (2 threads)"."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type


def prepare(device: torch.device) -> None:
    """Process-wide settings. Called once, before the first tensor."""
    if device.type == "cuda":
        if device.index is not None:  # pinned memory, recordings and Triton go by the current one
            torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # sizes never change
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    elif device.type == "cpu" and hasattr(os, "sched_getaffinity"):  # a container may own fewer cores than there are
        torch.set_num_threads(max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0)))))


class Stopwatch:
    """Seconds by part of one frame, in the device's own time, without making anybody wait.

    CUDA runs behind the caller, so its marks are events, read once the frame is on the host; on the CPU they are clock
    readings. On other devices, and where nothing was marked on the way, only the whole "frame" is known.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, float]] = []
        self._events: list[torch.cuda.Event] = []

    def start(self) -> None:
        """Begin a frame."""
        self._marks.clear()
        self.mark("")

    def mark(self, part: str) -> None:
        """`part` ends here; it began at the mark before."""
        if self._device.type == "cuda":
            self._event(len(self._marks)).record(torch.cuda.current_stream(self._device))
        self._marks.append((part, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """By part; the device must have finished the frame, all but the last mark."""
        if len(self._marks) <= 2 or self._device.type not in ("cuda", "cpu"):
            return {"frame": self._apart(0, len(self._marks) - 1)}
        return {part: self._apart(i, i + 1) for i, (part, _) in enumerate(self._marks[1:])}

    def _apart(self, one: int, other: int) -> float:
        """Seconds from mark to mark."""
        if self._device.type != "cuda":
            return self._marks[other][1] - self._marks[one][1]
        self._events[other].synchronize()  # an event is done microseconds after it is recorded; torch raises until then
        return float(self._events[one].elapsed_time(self._events[other])) / 1000

    def _event(self, number: int) -> torch.cuda.Event:
        while len(self._events) <= number:
            self._events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        return self._events[number]
