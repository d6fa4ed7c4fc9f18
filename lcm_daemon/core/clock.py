"""Clock: monotonic time and sleep, injectable. Ticker: a beat that does not drift."""

from __future__ import annotations

import sys
import time
from typing import Protocol


class Clock(Protocol):
    """What the package asks of time. Tests inject their own."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Return no earlier than `seconds` from now; return at once for zero or less."""


class MonotonicClock:
    """The real one: `time.perf_counter`, which is the same for all processes of a machine and never set back.

    On Linux and macOS it is the clock that `time.monotonic` reads; on Windows that one stands still for 15.6 ms at a
    time before Python 3.13. Whoever stamps a frame reads this clock too.
    """

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class Ticker:
    """Counts beats at `rate` per second from its start: beat n is due at start + n / rate.

    Nothing accumulates: a late beat does not move the next one. After a stall longer than a beat
    the missed beats are skipped and counted, never caught up in a burst.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be above 0, got {rate}")
        self.rate = rate
        self.skipped = 0
        self._clock = clock
        self._start = clock.now()
        self._beat = 0

    @property
    def due(self) -> float:
        """When the coming beat is due, in monotonic seconds."""
        return self._start + self._beat / self.rate

    def advance(self) -> float:
        """Step to the next beat that is still ahead; return how late this one was, in seconds."""
        now = self._clock.now()
        late = now - self.due
        missed = max(0, int(late * self.rate))
        self.skipped += missed
        self._beat += 1 + missed
        return late


def raise_timer_resolution() -> None:
    """Ask Windows for 1 ms timers (its default of 15.6 ms is a whole frame at 60 Hz); nothing elsewhere."""
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.winmm.timeBeginPeriod(1)
