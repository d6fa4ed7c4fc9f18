"""RateLimit: how many events of each kind count in a second. Pace: how long an event has to wait for its turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

MOST_KEYS = 1024  # that a Pace remembers, unless more of them have had events lately


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


class Pace:
    """Spaces out the events of each key: some at once, the others evenly. None is dropped unless it waits for too long.

    It is the generic cell rate algorithm (ITU-T I.371, virtual scheduling).

    Args:
        rate: Events of one key in a second.
        burst: Events of one key that need not wait, if it had none for a while.
        longest: Seconds that an event may wait.
        now: Monotonic seconds.
    """

    def __init__(
        self, rate: float, burst: int, longest: float, now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval, self._ahead, self._longest, self._now = 1.0 / rate, (burst - 1) / rate, longest, now
        self._due: dict[Hashable, float] = {}  # when the next event would come if they all came evenly

    def wait(self, key: Hashable) -> float:
        """Count an event; return the seconds that it has to wait. Infinity, without counting it, if they are too many.
        """
        now = self._now()
        due = max(self._due.get(key, now), now)
        wait = due - self._ahead - now
        if wait > self._longest:
            return math.inf
        self._due[key] = due + self._interval
        if len(self._due) > MOST_KEYS:
            self._due = {each: later for each, later in self._due.items() if later > now}
        return max(wait, 0.0)
