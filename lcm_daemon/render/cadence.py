"""Cadence: when the pictures of each result are shown, where several are shown for each rendered one."""

from __future__ import annotations

from collections import deque

from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.metrics import quantile_of

INTERVALS = 9  # between results that say how far apart they come
LONGEST_GAP = 1.0  # seconds between two results; longer ones are waiting
APART = 0.6  # of its time that each picture shows at least, where results come early


class Cadence:
    """Shows the pictures between two results evenly in the time that lies between them, and then the result.

    With n pictures for each result, a result shows (n - 1) / n of the interval between two results after it has
    arrived. One that comes without pictures before it, as after a cut, shows at once.

    Args:
        fps: Rate of the output. No more pictures are asked for than it can show. May be changed.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._intervals: deque[float] = deque(maxlen=INTERVALS)
        self._arrived: float | None = None  # when the last result did
        self._frame: Frame | None = None  # the last result that came with pictures before it
        self._start = self._step = 0.0  # when its first picture shows, and seconds from each to the next

    def wanted(self, asked: int) -> int:
        """How many pictures to make between two results, where `asked` are to show for each result.

        None while it is not known how far apart results come: those of a slow recipe would never show.
        """
        return max(0, min(asked, round(self._interval() * self.fps)) - 1) if asked > 1 else 0

    def note(self, frame: Frame, now: float) -> None:
        """A result has arrived at `now`, in monotonic seconds."""
        if self._arrived is not None and now - self._arrived <= LONGEST_GAP:
            self._intervals.append(now - self._arrived)
        before = self._frame
        ends = now if before is None else self._start + (len(before.between) + APART) * self._step
        self._arrived, self._frame = now, None
        if frame.between:
            self._frame, self._step = frame, self._interval() / (len(frame.between) + 1)
            self._start = max(now, min(ends, now + self._step))

    def picture(self, result: Frame, now: float) -> Pixels:
        """What to show of the newest result at `now`."""
        if result is not self._frame:
            return result.pixels
        number = int((now - self._start) / self._step) if self._step > 0.0 else len(result.between)
        return result.between[max(number, 0)] if number < len(result.between) else result.pixels

    def _interval(self) -> float:
        """Seconds between two results, lately; 0 while that is not known."""
        return quantile_of(sorted(self._intervals), 0.5) if self._intervals else 0.0
