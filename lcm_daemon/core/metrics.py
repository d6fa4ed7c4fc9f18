"""Metrics: counters and timings by path ("sink/ndi/dropped"). LogThrottle: a log line for repeated events."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TIMINGS_KEPT = 512  # per path
TEXTS = 32  # texts of one path that a log throttle counts each by itself
OTHER_TEXTS = ""  # counts all further ones
# Ends of a histogram's ranges in seconds: frame times of 240 to 10 fps, then what a person notices.
BOUNDS = (0.001, 0.002, 0.004, 0.008, 0.0125, 0.0167, 0.025, 0.0334, 0.05, 0.0667, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True)
class Histogram:
    """Durations since the start.

    Attributes:
        counts: How many were in each range up to the bounds, and, as the last number, above all of them.
        seconds: Their sum.
    """

    counts: tuple[int, ...]
    seconds: float


class Metrics:
    """Counters and timings; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = defaultdict(int)
        self._timings: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=TIMINGS_KEPT))
        self._ranges: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def count(self, path: str, by: int = 1) -> int:
        """Add `by` to a counter and return its new value."""
        with self._lock:
            self._counts[path] += by
            return self._counts[path]

    def time(self, path: str, seconds: float) -> None:
        """Record one duration; the newest TIMINGS_KEPT are kept, and all of them in a histogram."""
        with self._lock:
            self._timings[path].append(seconds)
            self._ranges[path][bisect_left(BOUNDS, seconds)] += 1
            self._seconds[path] += seconds

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


    def durations(self) -> Mapping[str, Histogram]:
        """The histogram of each path."""
        with self._lock:
            return {path: Histogram(tuple(counts), self._seconds[path]) for path, counts in self._ranges.items()}


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
