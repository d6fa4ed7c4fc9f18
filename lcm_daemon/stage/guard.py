"""Guard: runs the parts of a tick, so that one that fails leaves the others alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

FAILED = "tick/failed"  # counter of the parts that failed
ALARM_SECONDS = 5.0  # how long a part that has failed counts as failing

_P = ParamSpec("_P")


class Guard:
    """Catches, logs and counts what a part raises. The next part runs as if nothing had happened.

    Args:
        metrics: Counters.
        now: Monotonic seconds.
    """

    def __init__(self, metrics: Metrics, now: Callable[[], float]) -> None:
        self._throttle, self._now = LogThrottle(log, metrics), now
        self._failures: dict[str, tuple[float, str]] = {}  # when a part failed last, and why
        self._is_whole = True

    def run(self, part: str, function: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call a function with these arguments. part: Its name in the log ("the schedule")."""
        try:
            function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the top of the tick: nothing may stop it
            self._is_whole = False
            self._failures[part] = self._now(), f"{type(error).__name__}: {error}".splitlines()[0][:120]
            self._throttle.exception(FAILED, f"{part} failed; the show continues")

    def was_whole(self) -> bool:
        """Whether no part has failed since the last call."""
        whole, self._is_whole = self._is_whole, True
        return whole

    def alarm(self) -> str:
        """Which parts fail at present, and why; "" while none does."""
        since = self._now() - ALARM_SECONDS
        return "; ".join(f"{part} fails: {why}" for part, (at, why) in self._failures.items() if at >= since)
