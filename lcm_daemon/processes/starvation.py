"""StarvedTime: for how much of a child's silence other programs are to blame."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

LOOK_SECONDS = 0.5  # between two looks at a silent process
IDLE_SHARE = 0.02  # of the time; a process that ran or wanted to run for less has done nothing
AWAY_SECONDS = 2.0  # a longer pause between two calls is not the child's silence


class RunTimes(NamedTuple):
    """Seconds of all threads of a process, since it started.

    ran: On a processor.
    waited: Runnable, while other threads had every processor.
    """

    ran: float
    waited: float


if sys.platform == "linux":
    import contextlib
    import os

    def run_times(pid: int) -> RunTimes | None:
        """What the threads have run and waited; None if the system does not say. Waits for nothing.

        A line of /proc/PID/task/TID/schedstat has both in nanoseconds (Documentation/scheduler/sched-stats.rst).
        """
        ran = waited = 0
        folder = f"/proc/{pid}/task"
        try:
            threads = os.listdir(folder)
        except OSError:
            return None
        for thread in threads:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended
                with open(f"{folder}/{thread}/schedstat", "rb", buffering=0) as file:
                    fields = file.read(100).split()
                ran, waited = ran + int(fields[0]), waited + int(fields[1])
        return RunTimes(ran / 1e9, waited / 1e9)

else:

    def run_times(pid: int) -> RunTimes | None:
        """Other systems do not say."""
        return None


class StarvedTime:
    """Counts the seconds of a silence in which a process could do nothing. All times are monotonic seconds.

    These are the times in which its threads wanted a processor and got none, and those in which the caller itself did
    not run, as when all processes of a show were stopped and continued.

    Args:
        look: Reads the times of a process, by its id.

    Attributes:
        idle: Seconds for which the process has neither run nor wanted to, up to the last look at it.
    """

    def __init__(self, look: Callable[[int], RunTimes | None] = run_times) -> None:
        self._look = look
        self._pid, self._since = 0, 0.0
        self._excused = self.idle = 0.0
        self._called_at: float | None = None
        self._looked_at = 0.0
        self._times: RunTimes | None = None

    def within(self, pid: int, since: float, now: float) -> float:
        """Seconds of the silence that do not count. Call it often: it looks at the process once a second at most.

        Args:
            pid: The process.
            since: When the silence began.
            now: The present time.
        """
        away = 0.0 if self._called_at is None else now - max(self._called_at, since)
        self._called_at = now
        if (pid, since) != (self._pid, self._since):
            self._pid, self._since, self._excused, self._times = pid, since, 0.0, None
            self.idle = 0.0
        if away > AWAY_SECONDS:
            self._excused += away
            self._times, self.idle = None, 0.0
        elif now - since >= LOOK_SECONDS and (self._times is None or now - self._looked_at >= LOOK_SECONDS):
            self._look_again(pid, now)
        return self._excused

    def _look_again(self, pid: int, now: float) -> None:
        before, times, seconds = self._times, self._look(pid), now - self._looked_at
        self._times, self._looked_at = times, now
        if before is None or times is None:
            return
        ran, waited = max(times.ran - before.ran, 0.0), max(times.waited - before.waited, 0.0)
        self.idle = self.idle + seconds if ran + waited < IDLE_SHARE * seconds else 0.0
        if waited > 0.0:  # several threads wait at the same time
            self._excused += min(waited, seconds * waited / (ran + waited))
