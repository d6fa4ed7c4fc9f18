"""PaceLimit: a few events of a key at once, then one each pause."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

KEYS_KEPT = 4096  # the one that was used longest ago is forgotten first


class PaceLimit:
    """A token bucket for each key.

    Args:
        burst: Events at once.
        pause: Seconds until each further one.
        now: Monotonic seconds.
    """

    def __init__(self, burst: int, pause: float, now: Callable[[], float]) -> None:
        self._burst, self._pause, self._now = burst, pause, now
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # events left, and at what time

    def wait(self, key: Hashable) -> float:
        """Count an event. Returns 0, or the seconds until the next one is allowed; then none was counted."""
        now = self._now()
        left, at = self._left.pop(key, (float(self._burst), now))
        left = min(self._burst, left + max(now - at, 0.0) / self._pause)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left), now
        if len(self._left) > KEYS_KEPT:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) * self._pause

    def allows(self, key: Hashable) -> bool:
        """As `wait`: whether the event is allowed."""
        return self.wait(key) == 0.0
