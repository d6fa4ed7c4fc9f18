"""Device and precision that a recipe runs with, and a stopwatch that measures on this device."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines import precision
from lcm_daemon.pipelines.accelerators import openvino_devices
from lcm_daemon.pipelines.precision import Precision
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import FAMILIES

# How many algorithms cuDNN times for each convolution. That takes seconds at each start, and torch cannot store the
# result. An engine that takes the place of a dead one does without: a compiled one, which is searched, follows soon.
FULL_SEARCH = 10  # torch's default
SHORT_SEARCH = 3  # while another engine renders: the times are less sure, and they cost that one frames
NO_SEARCH = 0

DTYPES: Mapping[str, torch.dtype] = {
    "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32,
}


def choose_device(recipe: Recipe) -> torch.device:
    """Return the recipe's device; for "auto" the best one available.

    Raises:
        RecipeError: The named device is not available.
    """
    if openvino_device(recipe):
        return torch.device("cpu")  # torch does the rest of the frame there
    if recipe.device == "auto":
        return torch.device(next(name for name, is_available in _AVAILABLE.items() if is_available()))
    device = torch.device(recipe.device)
    if not _AVAILABLE[device.type]() or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise RecipeError(f"recipe {recipe.name}: torch {torch.__version__} finds no {recipe.device}; "
                          "use device: auto")
    return device


def openvino_device(recipe: Recipe) -> str:
    """OpenVINO's name of the recipe's device; "" if the recipe does not name one of OpenVINO.

    Raises:
        RecipeError: OpenVINO is not installed, does not find the device, or the recipe plays without it.
    """
    kind, _, wanted = recipe.device.partition(":")
    if kind != "openvino":
        return ""
    if recipe.accelerate not in ("auto", "openvino"):
        raise RecipeError(f"recipe {recipe.name}: device {recipe.device} needs accelerate: auto or openvino, "
                          f"not {recipe.accelerate}")
    if not (name := openvino_devices.find(wanted)):
        there = ", ".join(f"openvino:{each}" for each in openvino_devices.devices()) or "none; install openvino"
        raise RecipeError(f"recipe {recipe.name}: OpenVINO finds no {wanted} on this machine; there are: {there}")
    return name


_AVAILABLE: Mapping[str, Callable[[], bool]] = {  # the best first
    "cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True,
}


def choose_precision(recipe: Recipe, device: torch.device) -> Precision:
    """Return the recipe's precision and why; for "auto" the fastest that the device computes well."""
    if recipe.dtype != "auto":
        return Precision(DTYPES[recipe.dtype])
    found, family = precision.of_device(device), FAMILIES[recipe.family]
    if family.overflows and found.dtype == torch.float16:
        return Precision(precision.for_overflow(device), f"{family.title} overflows in float16")
    return found


def choose_dtype(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Return the dtype of `choose_precision`."""
    return choose_precision(recipe, device).dtype


def describe(device: torch.device) -> str:
    """The device as people read it: "cuda:0 (NVIDIA H100)", "cpu (2 threads)"."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type


def configure(device: torch.device, searched: int = FULL_SEARCH) -> None:
    """Apply process-wide settings. Call once, before the first tensor is made.

    Args:
        device: The device.
        searched: Algorithms that cuDNN times for each convolution; NO_SEARCH takes the first of its own list.
    """
    if device.type == "cuda":
        if device.index is not None:  # pinned memory, CUDA graphs and Triton use the current device
            torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = searched != NO_SEARCH  # sizes never change
        torch.backends.cudnn.benchmark_limit = searched or FULL_SEARCH
        # This sets the new switch (`fp32_precision`, torch 2.9) and the old one alike, so that readers of either agree.
        # Reading the old one warns. TF32 in convolutions is torch's default; setting it warns in torch 2.9 and 2.10.
        torch.backends.cuda.matmul.allow_tf32 = True
    elif device.type == "cpu" and hasattr(os, "sched_getaffinity"):  # a container may own fewer cores than exist
        torch.set_num_threads(max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0)))))


def end_search(device: torch.device) -> None:
    """Let cuDNN choose the algorithms of further convolutions by its own rules. Those that it has timed stay in use.

    What a show asks for after loading would be timed while its frames wait: seconds for a whole model.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False


class Stopwatch:
    """Seconds by part of one frame, in the device's own time, without blocking the host.

    CUDA runs behind the caller, so its marks are events, which are read once the frame is on the host. On the CPU they
    are clock readings. On other devices, and where nothing was marked in between, only the whole "frame" is known.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, float]] = []
        self._events: list[torch.cuda.Event] = []

    def start(self) -> None:
        """Start a frame."""
        self._marks.clear()
        self.mark("")

    def mark(self, part: str) -> None:
        """Mark the end of `part`, which began at the previous mark."""
        if self._device.type == "cuda":
            self._event(len(self._marks)).record(torch.cuda.current_stream(self._device))
        self._marks.append((part, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Seconds by part. The device must have finished the frame, except for the last mark."""
        if len(self._marks) <= 2 or self._device.type not in ("cuda", "cpu"):
            return {"frame": self._between(0, len(self._marks) - 1)}
        return {part: self._between(i, i + 1) for i, (part, _) in enumerate(self._marks[1:])}

    def _between(self, first: int, second: int) -> float:
        """Seconds from one mark to another."""
        if self._device.type != "cuda":
            return self._marks[second][1] - self._marks[first][1]
        end = self._events[second]
        if not end.query():  # type: ignore[no-untyped-call]  # it ends microseconds after its record; torch raises then
            end.synchronize()
        return float(self._events[first].elapsed_time(self._events[second])) / 1000

    def _event(self, number: int) -> torch.cuda.Event:
        while len(self._events) <= number:
            self._events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        return self._events[number]
