"""OutputRate: the frames a second that the output reaches, and a warning while they are fewer than the show's."""

from __future__ import annotations

import logging

from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.thread_priority import keep_time_again

log = logging.getLogger(__name__)

WINDOW = 10.0  # seconds that are judged together
ENOUGH = 0.95  # share of the show's rate


class OutputRate:
    """Compares the output's ticks with the rate that the show asks for.

    Args:
        fps: `output.fps` of the show.
    """

    def __init__(self, fps: float, metrics: Metrics) -> None:
        self._fps, self._throttle = fps, LogThrottle(log, metrics)
        self._last: tuple[float, int] | None = None  # time and missed ticks of the last call
        self._window: tuple[float, int] | None = None  # of the start of the window

    def reached(self, now: float, missed: int) -> float:
        """Frames a second since the last call. Logs a warning at the end of a window that was too slow.

        The stage calls it on the thread of the tick, whose scheduling it looks after.

        Args:
            now: Monotonic seconds.
            missed: Ticks that were skipped so far.
        """
        last, self._last = self._last, (now, missed)
        if last is None or self._window is None:
            self._window = self._last
            return self._fps
        if now - self._window[0] >= WINDOW:
            if self._between(self._window, self._last) < ENOUGH * self._fps:
                self._throttle.warn("output/slow", f"output: fewer than {self._fps:g} frames a second; the status "
                                    "output_fps has the rate. Lower output.fps or output.size")
            self._window = self._last
            keep_time_again()
        return self._between(last, self._last)

    def _between(self, one: tuple[float, int], other: tuple[float, int]) -> float:
        return max(0.0, self._fps - (other[1] - one[1]) / max(other[0] - one[0], 1e-3))
