"""Status: the numbers that subscribers and the page see, twice a second."""

from __future__ import annotations

from collections.abc import Mapping

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value

STATUS_INTERVAL = 0.5  # seconds


class Status:
    """Turns counters into rates, and timings into milliseconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started: float | None = None
        self._last = 0.0
        self._counts: dict[str, int] = {}

    def is_due(self, now: float) -> bool:
        return now - self._last >= STATUS_INTERVAL

    def collect(self, now: float, entries: Mapping[str, Value]) -> dict[str, Value]:
        """The status at `now` (monotonic seconds): the numbers below, and the caller's `entries`.

        fps: rendered frames a second.
        input_fps: frames a second from the source.
        latency: milliseconds from the capture of an input to its result, median.
        render: milliseconds in the engine, median.
        late: milliseconds that a tick is late, 99th percentile.
        dropped: frames dropped so far.
        replaced: engines and desks replaced so far.
        uptime: seconds since the first status.
        """
        if self._started is None:
            self._started = now
        numbers: dict[str, Value] = {
            "fps": round(self._rate("engine/rendered", now), 1),
            "input_fps": round(self._rate("source/frames", now), 1),
            "latency": round(1000 * self._metrics.timing("latency"), 1),
            "render": round(1000 * self._metrics.timing("engine/render"), 1),
            "late": round(1000 * self._metrics.timing("tick/late", 0.99), 2),
            "dropped": self._metrics.total("dropped/"),
            "replaced": self._metrics.total("engine/replaced") + self._metrics.total("desk/replaced"),
            "uptime": int(now - self._started),
        }
        self._last = now
        return {**numbers, **entries}

    def _rate(self, path: str, now: float) -> float:
        count, before = self._metrics.total(path), self._counts.get(path, 0)
        self._counts[path] = count
        return (count - before) / max(now - self._last, 1e-3) if self._last else 0.0
