"""ResultOrder: the results of one session in the order of their numbers, a little apart."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lcm_daemon.core.frame import Frame
from lcm_daemon.render.pacer import even_interval

APART = 0.6  # of the even interval that lies between two results at least


@dataclass(frozen=True)
class Pace:
    """How results of several engines follow each other.

    Args:
        interval: Seconds between two results if every engine is busy; 0 for a single engine.
        hold: Seconds that a result may wait for an older one of a slower engine.
    """

    interval: float = 0.0
    hold: float = 0.0

    @staticmethod
    def of(services: Sequence[float]) -> Pace:
        """The pace of engines that take these seconds from one frame to the next; 0 where that is not known yet."""
        interval = even_interval(services)
        return Pace(interval, min(service for service in services if service > 0.0)) if interval else Pace()


class ResultOrder:
    """Releases the results of one session in order.

    A result that overtook an older one, which a slower engine renders, waits for that if it is to come within
    `Pace.hold`: so a slower engine adds to the rate. What comes later than that is dropped. Results that arrive
    together are released one after another.
    """

    def __init__(self) -> None:
        self.released = -1  # number of the newest result that was released
        self._released_at = -math.inf
        self._under_way: dict[int, tuple[int, float]] = {}  # by number: the engine's process id, when it is expected
        self._waiting: list[tuple[int, float, Frame]] = []  # number, when it arrived, frame

    def note_sent(self, number: int, pid: int, expected: float) -> None:
        """Note a frame that an engine got. expected: when its result should come, in monotonic seconds."""
        self._under_way[number] = pid, expected

    def note_result(self, frame: Frame, now: float) -> bool:
        """Note a result that has arrived; return False if a newer one was released before."""
        self._under_way.pop(frame.number, None)
        if frame.number <= self.released:
            return False
        bisect.insort(self._waiting, (frame.number, now, frame), key=lambda entry: entry[0])
        return True

    def due(self, pace: Pace, pids: set[int]) -> float:
        """When the next result is to be released, in monotonic seconds; infinity if none has arrived.

        pids: Process ids of the engines that run; what others had under way will not come.
        """
        if not self._waiting:
            return math.inf
        number, arrived, _ = self._waiting[0]
        older = [expected for other, (pid, expected) in self._under_way.items()
                 if other < number and pid in pids and expected <= arrived + pace.hold]
        due = max(arrived, max(older) + pace.interval) if older else arrived
        return max(due, self._released_at + APART * pace.interval)

    def release(self, now: float) -> Frame:
        """The next result."""
        self.released, _, frame = self._waiting.pop(0)
        self._released_at = now
        self._under_way = {number: way for number, way in self._under_way.items() if number > self.released}
        return frame
