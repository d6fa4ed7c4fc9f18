"""Status: the numbers that subscribers and the panel see, twice a second."""

from __future__ import annotations

from collections.abc import Mapping

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value

INTERVAL = 0.5  # seconds


class Status:
    """Turns counters into rates and timings into milliseconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._health = metrics
        self._started: float | None = None
        self._last = 0.0
        self._counts: dict[str, int] = {}

    def due(self, now: float) -> bool:
        return now - self._last >= INTERVAL

    def collect(self, now: float, texts: Mapping[str, Value]) -> dict[str, Value]:
        """The status at `now`; `texts` are the entries that the caller alone knows.

        fps: rendered pictures per second.   input_fps: pictures from the source per second.
        latency: milliseconds from the capture of an input to its rendered picture, median.
        render: milliseconds inside the engine, median.   late: milliseconds a tick comes late, 99th percentile.
        dropped: pictures lost or passed over so far.   replaced: engines and desks replaced so far.
        """
        self._started = now if self._started is None else self._started
        numbers: dict[str, Value] = {
            "fps": round(self._rate("engine/rendered", now), 1),
            "input_fps": round(self._rate("source/frames", now), 1),
            "latency": round(1000 * self._health.timing("latency"), 1),
            "render": round(1000 * self._health.timing("engine/render"), 1),
            "late": round(1000 * self._health.timing("tick/late", 0.99), 2),
            "dropped": self._health.total("dropped/"),
            "replaced": self._health.total("engine/replaced") + self._health.total("desk/replaced"),
            "uptime": int(now - self._started),
        }
        self._last = now
        return {**numbers, **texts}

    def _rate(self, path: str, now: float) -> float:
        count, before = self._health.total(path), self._counts.get(path, 0)
        self._counts[path] = count
        return (count - before) / max(now - self._last, 1e-3) if self._last else 0.0
