"""RateLimit: how many events of each kind count in a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable


class RateLimit:
    """Allows `most` events of each key in a second; seconds are counted for all keys together.

    Args:
        most: Events of one key in a second.
        now: Monotonic seconds.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._now = most, now
        self._begun = now()
        self._counts: dict[Hashable, int] = {}

    def allows(self, key: Hashable) -> bool:
        """Count an event; return whether it is one of the first `most` of its second."""
        now = self._now()
        if now - self._begun >= 1.0:
            self._begun = now
            self._counts.clear()
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count <= self._most
