"""Pacer: spreads frames over several engines evenly in time: N engines of s seconds a frame get one every s/N."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHARE = 0.95  # of the even interval that must lie between two frames: an engine that is free early need not wait


class Pacer:
    """Says when the next frame may be handed out.

    An engine that is free asks for a frame at once, so engines that once began together would deliver together for
    ever. A frame that comes too soon after the one before waits; after a few rounds all are evenly apart. A slow
    engine asks less often, and so gets fewer frames.
    """

    def __init__(self) -> None:
        self._last = -math.inf

    def due(self, interval: float) -> float:
        """The time, in monotonic seconds, before which no frame is to be handed out.

        Args:
            interval: Seconds between two frames if every engine is busy, see `even_interval`.
        """
        return self._last + SHARE * interval

    def note_sent(self, now: float) -> None:
        """A frame is handed out at `now` (monotonic seconds)."""
        self._last = now


def even_interval(services: Sequence[float]) -> float:
    """Seconds between two frames if every engine is busy; 0 for a single engine, and while nothing is known.

    Args:
        services: Seconds that each engine takes from one frame to the next; 0 where that is not known yet.
    """
    known = [service for service in services if service > 0.0]
    if len(services) < 2 or not known:
        return 0.0
    rate = sum(1.0 / service for service in known)
    return len(known) / (rate * len(services))  # one that has rendered nothing yet counts as the others' mean
