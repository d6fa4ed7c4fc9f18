"""Measures the stage alone: the passthrough recipe with input faster than the engine takes it."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from lcm_daemon.commands.bench_report import Figures
from lcm_daemon.commands.bench_task import BENCH_SIZE, Task, show_of, tree_memory
from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.runner import SourceRunner

STAGE_FRAMES = 10_000
STAGE_TIMEOUT = 120.0  # seconds
FRAME_PERIOD = 0.0002  # seconds between two input frames


class FloodSource(Source):
    """Repeats four frames without end, faster than any engine takes them."""

    def _open_source(self) -> None:
        self._cycle = [solid(BENCH_SIZE, (60 * i, 90, 120, 255)) for i in range(4)]
        self._number = 0

    def _read(self, timeout: float) -> Frame | None:
        time.sleep(FRAME_PERIOD)
        self._number += 1
        return Frame(self._cycle[self._number % 4], self._number, time.perf_counter())

    def _close(self) -> None:
        self._cycle = []


class StageRun:
    """A stage that renders frames as fast as the engine takes them, and records its memory on the way.

    Args:
        show: the show to play.
        frames: after this many results the stage stops.
    """

    def __init__(self, show: Show, frames: int) -> None:
        self.stage = Stage(show, on_result=self._on_result)
        self.stage.desk.keeps_spare = False  # it would start between the two measurements of the memory
        metrics, on_input = self.stage.metrics, self.stage.on_input
        self.stage.source.runner = SourceRunner("flood", FloodSource({}), show.size, "cover", metrics, on_input)
        self.memory: dict[int, float] = {}  # MiB, by number of results
        self.started = self.ended = 0.0
        self._frames = frames

    def _on_result(self, frame: Frame, now: float) -> None:
        done = self.stage.metrics.total("engine/rendered")
        self.started = self.started or now
        for mark in (self._frames // 10, self._frames):
            if done >= mark and mark not in self.memory:
                self.memory[mark] = tree_memory(os.getpid())
        if done >= self._frames:
            self.ended = now
            self.stage.stop()


def measure_stage(task: Task) -> Figures:
    """Measure rate, added latency and memory."""
    content = {"recipe": "passthrough", "osc": False, "panel": False, "engine": {"spare": False}}
    run = StageRun(replace(show_of(content), sinks=()), STAGE_FRAMES)
    run.stage.run(STAGE_TIMEOUT)
    metrics = run.stage.metrics
    if not run.ended:
        raise EngineError(f"stage: only {metrics.total('engine/rendered')} of {STAGE_FRAMES} results in "
                          f"{STAGE_TIMEOUT:.0f} s")
    before, after = run.memory.values()
    return {
        "passthrough 512x512 flat out, frames/s": STAGE_FRAMES / (run.ended - run.started),
        "added per frame, ms (p50)": 1000 * metrics.timing("latency", 0.5),
        "added per frame, ms (p99)": 1000 * metrics.timing("latency", 0.99),
        "memory after 1,000 frames, MiB": before,
        f"memory after {STAGE_FRAMES:,} frames, MiB": after,
    }
