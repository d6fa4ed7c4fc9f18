"""`lcm-daemon bench --engines N`: what each further engine adds, with engines that take a fixed time a frame."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import psutil

from lcm_daemon.commands.bench_report import Figures
from lcm_daemon.commands.bench_task import show_of
from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Frame, Size, solid
from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.runner import SourceRunner

SERVICE = 0.05  # seconds of a frame, without a processor
TIMEOUT = 60.0  # seconds until every engine renders
SETTLED = 1.0  # seconds after that which do not count
FRAME_PERIOD = 0.003  # seconds between two input frames; less than between two frames of 16 engines
CYCLE = 4  # different input frames
FPS = 30.0  # of the output
NEVER = 1e9

Place = dict[str, Any]  # an entry of the show's `engines`


class CycleSource(Source):
    """Repeats CYCLE frames, one each FRAME_PERIOD. size: (width, height) in pixels."""

    def __init__(self, size: Size) -> None:
        super().__init__({})
        self._cycle = [solid(size, (60 * i, 90, 120, 255)) for i in range(CYCLE)]
        self._number = 0

    def _open_source(self) -> None:
        self._number = 0

    def _read(self, timeout: float) -> Frame | None:
        time.sleep(FRAME_PERIOD)
        self._number += 1
        return Frame(self._cycle[self._number % CYCLE], self._number, time.perf_counter())

    def _close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class EngineFigures:
    """Figures of one run.

    Attributes:
        engines: How many rendered.
        rate: Results a second.
        spacing: 95th percentile of the seconds between two results, as a share of the even interval.
        is_ordered: Whether the results' numbers only rose.
        dropped: Results that came too late.
        hand_over: Seconds from request to result, without the service time, median.
        stage_cpu: Processor seconds of the stage's process a result, input and output included.
        engine_cpu: Processor seconds of all other processes a result.
        late: Seconds that a tick of the output was late, 99th percentile.
    """

    engines: int
    rate: float
    spacing: float
    is_ordered: bool
    dropped: int
    hand_over: float
    stage_cpu: float
    engine_cpu: float
    late: float

    def __str__(self) -> str:
        return (f"{self.engines} engines: {self.rate:6.1f} frames/s, spacing p95 {self.spacing:.2f} of even, "
                f"{'in order' if self.is_ordered else 'OUT OF ORDER'}, {self.dropped} late, hand-over "
                f"{1000 * self.hand_over:.2f} ms, CPU a frame: stage {1000 * self.stage_cpu:.2f} ms, engines "
                f"{1000 * self.engine_cpu:.2f} ms; tick late p99 {1000 * self.late:.2f} ms")


class _Run:
    """One show, until it has played for some seconds with every engine.

    Args:
        place: The show's key `engines`.
        engines: How many engines that are.
        size: (width, height) of the frames in pixels.
        seconds: How long results are measured.
        service: Seconds that an engine takes for a frame.
    """

    def __init__(self, place: Place, engines: int, size: Size, seconds: float, service: float) -> None:
        content = {
            "recipe": {"base": "passthrough", "pipeline": "timed_copy", "schedule": {"service": service}},
            "osc": False, "panel": False, "midi": False, "resume": False, "engine": {"spare": False},
            "engines": place, "output": {"size": list(size), "fps": FPS},
        }
        self.stage = Stage(replace(show_of(content), sinks=()), on_result=self._on_result)
        stage = self.stage
        stage.source.runner = SourceRunner("cycle", CycleSource(size), size, "stretch", stage.metrics, stage.on_input)
        self._engines, self._seconds, self._service = engines, seconds, service
        self._begin, self._cpu = NEVER, (0.0, 0.0)
        self._results: list[tuple[float, int]] = []  # when they arrived, and their numbers
        self.figures: EngineFigures | None = None

    def _on_result(self, frame: Frame, now: float) -> None:
        ready = sum(engine.ready for engine in self.stage.transition.current.engines)
        if self._begin == NEVER and ready == self._engines:
            self._begin = now + SETTLED
        if now < self._begin:
            self._cpu, self._dropped = _cpu_times(), self.stage.metrics.total("dropped/rendered")
            return
        self._results.append((now, frame.number))
        if now >= self._begin + self._seconds:
            self.figures = self._collect()
            self.stage.stop()

    def _collect(self) -> EngineFigures:
        times, numbers = zip(*self._results, strict=True)
        gaps = sorted(after - before for before, after in pairwise(times))
        mean = (times[-1] - times[0]) / len(gaps)
        timing = self.stage.metrics.timing
        own, others = (after - before for before, after in zip(self._cpu, _cpu_times(), strict=True))
        return EngineFigures(
            self._engines, 1.0 / mean, quantile_of(gaps, 0.95) / mean, all(a < b for a, b in pairwise(numbers)),
            self.stage.metrics.total("dropped/rendered") - self._dropped,
            timing("engine/latency") - timing("engine/render"), own / len(gaps), others / len(gaps),
            timing("tick/late", 0.99))


def _cpu_times() -> tuple[float, float]:
    """Processor seconds so far: of this process, and of its children."""
    process = psutil.Process(os.getpid())
    return _spent(process), sum(_spent(child) for child in process.children(recursive=True))


def _spent(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def run_engines(
    engines: int, size: Size, seconds: float = 5.0, place: Place | None = None, service: float = SERVICE,
) -> EngineFigures:
    """Measure a number of engines.

    Args:
        engines: How many.
        size: (width, height) of the frames in pixels.
        seconds: How long results are measured.
        place: Where they run, as an entry of the show's `engines`; None for processes of this machine.
        service: Seconds that an engine takes for a frame.

    Raises:
        EngineError: Not every engine renders within TIMEOUT.
    """
    run = _Run({**(place or {"device": "cpu"}), "engines": engines}, engines, size, seconds, service)
    run.stage.run(TIMEOUT + SETTLED + seconds)
    if run.figures is None:
        raise EngineError(f"not every one of {engines} engines renders within {TIMEOUT:.0f} s")
    return run.figures


def measure_engines(most: int, size: Size, seconds: float = 5.0) -> Iterator[EngineFigures]:
    """Measure 1, 2, 4, ... engines, up to `most`."""
    engines = 1
    while engines < most:
        yield run_engines(engines, size, seconds)
        engines *= 2
    yield run_engines(most, size, seconds)


def as_figures(runs: list[EngineFigures]) -> Figures:
    """The runs in the form of the bench's other figures."""
    found: dict[str, float | str] = {}
    for run in runs:
        name = f"{run.engines} engine{'s' if run.engines > 1 else ''}"
        found |= {
            f"{name}, frames/s": run.rate,
            f"{name}, share of {run.engines} times one": run.rate / (run.engines * runs[0].rate),
            f"{name}, spacing p95 / even": run.spacing,
            f"{name}, out of order or late": float(run.dropped + (not run.is_ordered)),
            f"{name}, hand-over, ms": 1000 * run.hand_over,
            f"{name}, stage CPU a frame, ms": 1000 * run.stage_cpu,
            f"{name}, engine CPU a frame, ms": 1000 * run.engine_cpu,
        }
    return found
