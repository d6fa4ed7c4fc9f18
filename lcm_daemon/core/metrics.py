"""Health: counters and timings, keyed by path ("sink/ndi/dropped"), safe from any thread."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Sequence

WINDOW = 512  # timings remembered per path


class Metrics:
    """What happened, and how long it took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = defaultdict(int)
        self._timings: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))

    def count(self, path: str, by: int = 1) -> int:
        """Add `by` and return the new count."""
        with self._lock:
            self._counts[path] += by
            return self._counts[path]

    def time(self, path: str, seconds: float) -> None:
        """Remember one duration; the last 512 count."""
        with self._lock:
            self._timings[path].append(seconds)

    def counts(self, prefix: str = "") -> dict[str, int]:
        """A copy of the counters whose path starts with `prefix`."""
        with self._lock:
            return {path: n for path, n in self._counts.items() if path.startswith(prefix)}

    def total(self, prefix: str) -> int:
        """The sum of the counters whose path starts with `prefix`."""
        return sum(self.counts(prefix).values())

    def timing(self, path: str, quantile: float = 0.5) -> float:
        """A quantile of the remembered durations in seconds; 0.0 where there are none."""
        with self._lock:
            return quantile_of(sorted(self._timings.get(path, ())), quantile)


def quantile_of(ordered: Sequence[float], quantile: float) -> float:
    """The nearest-rank quantile of an ascending sequence; 0.0 of an empty one."""
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else 0.0


class LogThrottle:
    """Log a repeated event at its 1st, 2nd, 4th, 8th ... time: it is seen, and can never fill a log."""

    def __init__(self, log: logging.Logger, metrics: Metrics) -> None:
        self._log, self._health = log, metrics

    def warn(self, path: str, text: str) -> None:
        """Count `path`; log `text` if its count has become a power of two."""
        count = self._health.count(path)
        if count & (count - 1) == 0:
            self._log.warning("%s%s", text, f" ({count} times)" if count > 1 else "")
