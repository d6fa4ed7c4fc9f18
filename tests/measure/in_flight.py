"""What frames in flight are worth: a stage, an engine process and a stand-in for a graphics card (5 ms a frame, 1 ms a
copy), with 1, 2 and 3 frames under way.

    python -m tests.measure.in_flight [--runs 3] [--fps 60]

A share of 1 is the rate that the stand-in's own computations allow. They are measured in the same run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from lcm_daemon.commands.bench_task import BENCH_SIZE, show_of
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import TIMINGS_KEPT
from lcm_daemon.render import engine
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.runner import SourceRunner
from tests.rigs import timed_pipeline

TIMEOUT = 120.0  # seconds
FRAME_PERIOD = 0.001  # seconds between two input frames
CYCLE = 16  # different input frames
WARM_UP = 50  # results that do not count


@dataclass(frozen=True)
class Flight:
    """Figures of one run.

    Attributes:
        rate: Results a second.
        interval: Median seconds from one result to the next.
        service: Mean seconds of a computation.
        latency: Seconds from request to result, median and 99th percentile.
        age: Seconds from the capture of an input to its result, median.
        late: Seconds that a tick of the output was late, 99th percentile.
        missed: Ticks that were skipped.
        is_ordered: Whether the results' numbers only rose.
    """

    in_flight: int
    rate: float
    interval: float
    service: float
    latency: tuple[float, float]
    age: float
    late: float
    missed: int
    is_ordered: bool

    @property
    def share(self) -> float:
        """Of the rate that the computations allow."""
        return self.rate * self.service

    def __str__(self) -> str:
        return (f"{self.in_flight} in flight: {self.rate:6.1f} frames/s, computation {1000 * self.service:.2f} ms, "
                f"share {self.share:.3f}, request to result {1000 * self.latency[0]:.1f} ms "
                f"(p99 {1000 * self.latency[1]:.1f}), input to result {1000 * self.age:.1f} ms, "
                f"tick late p99 {1000 * self.late:.2f} ms, {self.missed} ticks missed, "
                f"{'in order' if self.is_ordered else 'OUT OF ORDER'}")


class _Cards(Source):
    """Repeats CYCLE frames, one each FRAME_PERIOD."""

    def _open_source(self) -> None:
        self._cycle = [solid(BENCH_SIZE, (10 * i, 90, 120, 255)) for i in range(CYCLE)]
        self._number = 0

    def _read(self, timeout: float) -> Frame | None:
        time.sleep(FRAME_PERIOD)
        self._number += 1
        return Frame(self._cycle[self._number % CYCLE], self._number, time.perf_counter())

    def _close(self) -> None:
        self._cycle = []


def fly(in_flight: int, frames: int, fps: float = 60.0, service: float = 0.005, copy: float = 0.001) -> Flight:
    """Play until `frames` results have come after the first WARM_UP, and return their figures.

    Args:
        frames: At most TIMINGS_KEPT.
        service: Seconds that a frame computes.
        copy: Seconds that an upload and a download take, each.
    """
    content = {"recipe": "passthrough", "osc": False, "panel": False, "engine": {"spare": False}}
    show = replace(show_of(content), sinks=(), fps=fps, recipe=timed_pipeline.timed_recipe(in_flight, service, copy))
    times: list[float] = []
    numbers: list[int] = []
    missed: list[int] = []  # ticks during the warm-up

    def on_result(frame: Frame, now: float) -> None:
        times.append(now)
        numbers.append(frame.number)
        if len(times) == WARM_UP:
            missed.append(stage.ticker.skipped)
        if len(times) > WARM_UP + frames:
            stage.stop()

    before, engine.run = engine.run, timed_pipeline.run
    try:
        stage = Stage(show, on_result=on_result)
        stage.source.runner = SourceRunner("cards", _Cards({}), show.size, "cover", stage.metrics, stage.on_input)
        stage.run(TIMEOUT)
    finally:
        engine.run = before
    if len(times) <= WARM_UP + frames:
        raise RuntimeError(f"{len(times)} of {frames} results in {TIMEOUT:.0f} s")
    timing, intervals = stage.metrics.timing, [b - a for a, b in pairwise(times[WARM_UP:])]
    services = list(stage.metrics._timings["engine/denoise"])[-len(intervals):]
    return Flight(
        in_flight, 1 / fmean(intervals), median(intervals), fmean(services),
        (timing("engine/latency"), timing("engine/latency", 0.99)), timing("latency"), timing("tick/late", 0.99),
        stage.ticker.skipped - missed[0], all(a < b for a, b in pairwise(numbers)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of 1, 2 and 3 in flight, one after the other (3)")
    parser.add_argument("--fps", type=float, default=60.0, help="rate of the output (60)")
    arguments = parser.parse_args()
    for in_flight in (1, 2, 3) * arguments.runs:
        print(fly(in_flight, TIMINGS_KEPT, arguments.fps), flush=True)


if __name__ == "__main__":
    main()
