"""SilenceWatch: tells a child that hangs from one that other programs leave no processor time."""

from __future__ import annotations

from collections.abc import Callable

from lcm_daemon.processes.progress import ASLEEP, STOPPED, ProcessState, look

LOOK_SECONDS = 0.1  # between two looks at a silent child
STOPPED_SECONDS = 0.25  # of silence: one that is stopped does not answer by itself
ASLEEP_SECONDS = 2.0  # of silence in which it has done nothing and wanted nothing, if it answers at once else
BUSY_CPU = 3.0  # seconds of processor time without an answer, which takes some milliseconds
LONGEST = 30.0  # seconds of silence, also of a starved process
AWAY_SECONDS = 0.5  # a longer pause between two calls is not the child's silence
IDLE_CPU = 0.02  # seconds of processor time that a sleeping process may use, in two seconds


class SilenceWatch:
    """Says when a silent child counts as hung, by what its process does. All times are monotonic seconds.

    Args:
        look: Looks at a process, by its id.
        asleep: Seconds of silence after which one that only sleeps counts as hung.
    """

    def __init__(self, look: Callable[[int], ProcessState] = look, asleep: float = ASLEEP_SECONDS) -> None:
        self._look, self._asleep = look, asleep
        self._heard_at: float | None = None  # None: until the next call
        self._called_at: float | None = None
        self._looked_at = self._asleep_since = 0.0
        self._cpu: float | None = None  # of the process, at the first look since it was heard
        self._asleep_cpu = 0.0

    def heard(self, now: float | None) -> None:
        """The child has answered. None: its silence counts from the next call of `is_stopped` or `is_hung`."""
        self._heard_at, self._cpu, self._asleep_since = now, None, 0.0

    def is_stopped(self, pid: int, now: float) -> bool:
        """Whether the child is silent because it is stopped."""
        seen = self._seen(pid, now)
        return seen is not None and seen.state == STOPPED

    def is_hung(self, pid: int, now: float) -> bool:
        """Whether the child hangs: it is stopped, sleeps, or is busy with something else than an answer."""
        seen = self._seen(pid, now)
        if seen is None:
            return False
        assert self._cpu is not None
        assert self._heard_at is not None
        return (seen.state == STOPPED or self._is_asleep(seen, now) or seen.cpu - self._cpu >= BUSY_CPU
                or now - self._heard_at >= LONGEST)

    def _is_asleep(self, seen: ProcessState, now: float) -> bool:
        """Whether it was found asleep by each look of the last seconds, and has done nothing in between."""
        if seen.state != ASLEEP or (self._asleep_since and seen.cpu - self._asleep_cpu > IDLE_CPU):
            self._asleep_since = 0.0
        elif not self._asleep_since:
            self._asleep_since, self._asleep_cpu = now, seen.cpu
        return bool(self._asleep_since) and now - self._asleep_since >= self._asleep

    def _seen(self, pid: int, now: float) -> ProcessState | None:
        """A look at the process, if one is due; None if it was heard lately, or looked at."""
        away = 0.0 if self._called_at is None else now - self._called_at
        self._called_at = now
        if self._heard_at is None:
            self._heard_at = now
        elif away > AWAY_SECONDS:  # the stage was stopped too, or had no processor
            self._heard_at += away
            self._asleep_since = 0.0
        if now - self._heard_at < STOPPED_SECONDS or now - self._looked_at < LOOK_SECONDS:
            return None
        self._looked_at, seen = now, self._look(pid)
        if self._cpu is None:
            self._cpu = seen.cpu
        return seen
