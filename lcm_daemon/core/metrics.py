"""Metrics: counters and timings by path ("sink/ndi/dropped"). LogThrottle: a log line for repeated events."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Sequence

TIMINGS_KEPT = 512  # per path
TEXTS = 32  # texts of one path that a log throttle counts each by itself
OTHER_TEXTS = ""  # counts all further ones


class Metrics:
    """Counters and timings; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = defaultdict(int)
        self._timings: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=TIMINGS_KEPT))

    def count(self, path: str, by: int = 1) -> int:
        """Add `by` to a counter and return its new value."""
        with self._lock:
            self._counts[path] += by
            return self._counts[path]

    def time(self, path: str, seconds: float) -> None:
        """Record one duration; the newest TIMINGS_KEPT are kept."""
        with self._lock:
            self._timings[path].append(seconds)

    def counts(self, prefix: str = "") -> dict[str, int]:
        """A copy of the counters whose path starts with `prefix`."""
        with self._lock:
            return {path: n for path, n in self._counts.items() if path.startswith(prefix)}

    def total(self, prefix: str) -> int:
        """Sum of the counters whose path starts with `prefix`."""
        return sum(self.counts(prefix).values())

    def timing(self, path: str, quantile: float = 0.5) -> float:
        """A quantile of the recorded durations in seconds; 0.0 if there are none."""
        with self._lock:
            return quantile_of(sorted(self._timings.get(path, ())), quantile)


def quantile_of(ordered: Sequence[float], quantile: float) -> float:
    """The nearest-rank quantile of an ascending sequence; 0.0 if it is empty."""
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0


class LogThrottle:
    """Counts a repeated event and logs it the 1st, 2nd, 4th, 8th ... time, so that it cannot fill a log.

    Events of one path with different texts are different events: the first TEXTS of them are logged each by itself, the
    others as one.
    """

    def __init__(self, log: logging.Logger, metrics: Metrics | None = None) -> None:
        """The events are counted in `metrics`, or in counters of the throttle's own."""
        self._log, self._metrics = log, metrics or Metrics()
        self._texts: dict[str, dict[str, int]] = {}  # how often each text came, by path

    def warn(self, path: str, text: str) -> None:
        """Count `path`; log a warning if it is due."""
        self._write(logging.WARNING, path, text, traceback=False)

    def exception(self, path: str, text: str) -> None:
        """Count `path`; log an error with the traceback of the exception being handled if it is due."""
        self._write(logging.ERROR, path, text, traceback=True)

    def _write(self, level: int, path: str, text: str, traceback: bool) -> None:
        self._metrics.count(path)
        texts = self._texts.setdefault(path, {})
        is_own = text in texts or len(texts) < TEXTS
        key = text if is_own else OTHER_TEXTS
        texts[key] = count = texts.get(key, 0) + 1
        if count & (count - 1) == 0:
            times = f" ({count} {'times' if is_own else 'others like it'})" if count > 1 else ""
            self._log.log(level, "%s%s", text, times, exc_info=traceback)
