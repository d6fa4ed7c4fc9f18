"""Clock: monotonic time and sleep, injectable in tests. Ticker: ticks at a fixed rate that do not drift."""

from __future__ import annotations

import sys
import time
from typing import Protocol


class Clock(Protocol):
    """Source of time. Tests inject their own."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds` or later; return at once for zero or less."""


class MonotonicClock:
    """`time.perf_counter`, which is the same in all processes of a machine and is never set back.

    On Linux and macOS it is the clock that `time.monotonic` reads. On Windows before Python 3.13, `time.monotonic`
    advances in steps of 15.6 ms; this clock does not. Frames are stamped with this clock too.
    """

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class Ticker:
    """Counts ticks from its start: tick n is due at start + n / rate.

    Lateness does not accumulate: a late tick does not move the next one. After a stall longer than a tick the missed
    ticks are skipped and counted; they do not follow in a burst.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        """Start now.

        Args:
            rate: Ticks per second, above 0.
            clock: Source of time.
        """
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        self.rate = rate
        self.skipped = 0
        self._clock = clock
        self._start = clock.now()
        self._tick = 0

    @property
    def due(self) -> float:
        """Time of the coming tick, in monotonic seconds."""
        return self._start + self._tick / self.rate

    def advance(self) -> float:
        """Step to the next tick in the future; return how late this one was, in seconds."""
        now = self._clock.now()
        late = now - self.due
        missed = max(0, int(late * self.rate))
        self.skipped += missed
        self._tick += 1 + missed
        return late


def raise_timer_resolution() -> None:
    """Ask Windows for 1 ms timers; its default of 15.6 ms is a whole frame at 60 Hz. Does nothing elsewhere."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.winmm.timeBeginPeriod(1)
