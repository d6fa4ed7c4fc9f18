"""Heartbeat: reports progress while a compiler works, so that the stage can tell a long compilation from a hang."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import psutil

INTERVAL = 5.0  # seconds between two looks at the compiler
BUSY = 0.2  # share of one core that a compiler at work uses at least
LONGEST_CALCULATION = 3600.0  # seconds for which use of the CPU alone counts: an endless loop uses it too


@dataclass(frozen=True)
class WorkDone:
    """What a compiler has done since the process started.

    Attributes:
        steps: Steps that torch has counted: graphs, operations, kernels.
        cpu: Seconds of CPU of this process and its children.
    """

    steps: int
    cpu: float


class Heartbeat:
    """While the block runs, calls `report` with "WHAT: 40 s" as long as work is done in it.

    Args:
        report: Called from a thread of its own.
        what: What is done: "compiling the denoiser".
        measure: Returns the work done so far.
        now: The clock, in seconds.
    """

    def __init__(
        self, report: Callable[[str], object], what: str, measure: Callable[[], WorkDone] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._what, self._measure, self._now = report, what, measure or measure_work, now
        self._started = self._looked_at = self._stepped_at = now()
        self._before = self._measure()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_end, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._report(self._what)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def beat(self) -> bool:
        """Report if work was done since the last call; return whether it was."""
        now, work, before = self._now(), self._measure(), self._before
        busy = work.cpu - before.cpu >= BUSY * (now - self._looked_at)
        self._looked_at, self._before = now, work
        if work.steps != before.steps:
            self._stepped_at = now
        elif not busy or now - self._stepped_at > LONGEST_CALCULATION:
            return False
        self._report(f"{self._what}: {_duration(now - self._started)}")
        return True

    def _beat_until_end(self) -> None:
        while not self._ended.wait(INTERVAL):
            self.beat()


def measure_work() -> WorkDone:
    """The work of this process and its children, which compile for it."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    counters = getattr(dynamo, "counters", {})  # absent while another thread imports the module
    return WorkDone(sum(sum(list(group.values())) for group in list(counters.values())), _cpu_seconds())


def _cpu_seconds() -> float:
    this, seconds = psutil.Process(), 0.0
    for process in (this, *this.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:  # it has ended
            continue
        seconds += times.user + times.system + getattr(times, "children_user", 0.0)
    return seconds


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
