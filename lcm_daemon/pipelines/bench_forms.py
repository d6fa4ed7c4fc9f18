"""The forms in which a recipe plays, and the way in which the bench renders and times them: as an engine does."""

from __future__ import annotations

import mmap
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pending
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.latent_consistency import LatentConsistency
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import QUICK

UNTIMED_FRAMES = 3  # rendered before times are recorded
UNTIMED_RECORDED = 8  # the same where frames are recorded first: warm-up, recording, and those in flight
COMPILE_TIMEOUT = 1800.0  # seconds
ACCELERATED, RECORDED, EAGER, DIFFUSERS = "accelerated", "recorded", "eager", "diffusers"

Row = Mapping[str, float]  # seconds of one frame: "frame", "latency", and by part where that is known


def forms_of(recipe: Recipe, device: str, upgrade: str) -> dict[str, Recipe]:
    """The forms in which this package plays a recipe on a kind of device, the fastest first.

    Args:
        recipe: The recipe.
        device: "cuda", "cpu" or "mps". Frames are recorded as CUDA graphs, so only on "cuda".
        upgrade: The accelerator that a show loads beside the recorded form with `accelerate: auto`; "" for none.
    """
    is_cuda = device == "cuda"
    accelerator = (upgrade or "none") if is_cuda and recipe.accelerate == "auto" else recipe.accelerate  # as in a show
    forms = {
        ACCELERATED: replace(recipe, accelerate=accelerator),
        RECORDED: replace(recipe, accelerate="none" if recipe.accelerate == "none" else QUICK, recorded=True),
        EAGER: replace(recipe, accelerate="none", recorded=False, in_flight=1),
    }
    left_out = {ACCELERATED} if accelerator == "none" else set()
    return {name: form for name, form in forms.items() if name not in left_out | (set() if is_cuda else {RECORDED})}


@dataclass(frozen=True)
class BenchForm:
    """One of those that are compared.

    Args:
        label: How it plays, for people: accelerator, precision, recorded or not, frames in flight.
        untimed: Frames that it renders before times are recorded.
        frames: Frames that it renders each time that it is its turn; all but the first few of them are timed.
        play: Renders a number of frames. Returns a row for each.
        in_flight: Frames that are under way at once.
    """

    label: str
    untimed: int
    frames: int
    play: Callable[[Pixels, Values, int], list[Row]]
    in_flight: int = 1

    def timed(self, frame: Pixels, values: Values) -> list[Row]:
        """Take a turn. The frames of a pipeline that fills up are not timed."""
        return self.play(frame, values, self.frames)[self.in_flight if self.in_flight > 1 else 0:]


class TimedPipeline:
    """A loaded pipeline that renders as in an engine: from memory that it knows, as many frames at once as it takes."""

    def __init__(self, pipeline: LatentConsistency) -> None:
        self._pipeline = pipeline
        self._depth = pipeline.frames_in_flight
        width, height = pipeline.size
        frame_bytes, count = width * height * 4, self._depth + 1
        memory = np.frombuffer(mmap.mmap(-1, count * frame_bytes), np.uint8)  # whole pages, as an engine's slots are
        pipeline.use_memory(memory)
        slots = memory.reshape(count, height, width, 4)
        self._input, self._outputs = slots[0], slots[1:]

    @property
    def components(self) -> Components:
        return self._pipeline.renderer.components

    @property
    def accelerators(self) -> str:
        """Accelerators in use at this moment: "openvino", "none", or by part where they differ."""
        names = self._pipeline.renderer.acceleration.active_names()
        same = len(set(names.values())) == 1
        return next(iter(names.values())) if same else ", ".join(map(" ".join, names.items())) or "none"

    def form(self, precision: str) -> BenchForm:
        recorded = self._pipeline.recipe.recorded and self.components.device.type == "cuda"
        parts = (self.accelerators if self.accelerators != "none" else "eager modules", precision,
                 "recorded" if recorded else "not recorded", f"{count_frames(self._depth)} in flight")
        untimed, frames = UNTIMED_RECORDED if recorded else UNTIMED_FRAMES, 2 * self._depth if self._depth > 1 else 1
        return BenchForm(", ".join(parts), untimed, frames, self.play, self._depth)

    def compile(self, frame: Pixels, values: Values) -> None:
        """Request the compilation for these values, and wait for it."""
        self.play(frame, values, 1)
        self._pipeline.renderer.acceleration.wait(COMPILE_TIMEOUT)

    def play(self, frame: Pixels, values: Values, frames: int) -> list[Row]:
        """Render `frame` as often as `frames` says.

        A row has the interval between two results ("frame"), and the time from input to output ("latency").
        For plain modules on the CPU a row also has the time outside of forward passes.
        """
        np.copyto(self._input, frame)
        if self._depth == 1:
            return [self._time_frame(values) for _ in range(frames)]
        rows: list[Row] = []
        under_way: deque[tuple[float, Pending]] = deque()
        last = 0.0  # when the frame before was done
        for number in range(frames + self._depth):
            if under_way and (number >= frames or len(under_way) == self._depth):
                begun, pending = under_way.popleft()
                parts, now = pending.wait(), time.perf_counter()
                rows.append({**parts, "frame": now - max(begun, last), "latency": now - begun})
                last = now
            if number < frames:
                begun, out = time.perf_counter(), self._outputs[number % self._depth]
                under_way.append((begun, self._pipeline.submit(self._input, values, out)))
        return rows

    def _time_frame(self, values: Values) -> Row:
        components = self.components
        timing: AbstractContextManager[list[float]] = nullcontext([])
        if components.device.type == "cpu" and self.accelerators == "none":
            timing = _forward_times(components)
        with timing as inside:
            begun = time.perf_counter()
            parts = self._pipeline.render(self._input, values, self._outputs[0])
            total = time.perf_counter() - begun
        return {**parts, "frame": total, "latency": total, **({"outside": total - sum(inside)} if inside else {})}


def count_frames(number: int) -> str:
    return f"{number} frame{'s' if number > 1 else ''}"


@contextmanager
def _forward_times(components: Components) -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of the UNet and of both halves of the VAE."""
    inside, begun = list[float](), [0.0]

    def enter(*_: Any) -> None:
        begun[0] = time.perf_counter()

    def leave(*_: Any) -> None:
        inside.append(time.perf_counter() - begun[0])

    modules = (components.unet, components.vae.encoder, components.vae.decoder)
    handles = [handle for module in modules
               for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))]
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()
