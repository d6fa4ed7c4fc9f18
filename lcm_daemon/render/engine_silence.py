"""EngineSilence: when the silence of an engine is a hang."""

from __future__ import annotations

from lcm_daemon.processes.progress import STOPPED, look
from lcm_daemon.processes.starvation import AWAY_SECONDS, StarvedTime
from lcm_daemon.render.cpu_watch import CpuWatch
from lcm_daemon.render.policy import EngineTimeouts

# A frame may take this many times the usual before it counts as a hang. Eight steps in two passes (guidance above 1)
# are 16 times the work of one step in one, and the first frames of a kind take up to twice as long as later ones.
SLOWEST_FRAME = 32.0
WORKING_TIMEOUTS = 10.0  # an engine on the CPU that still works may take this many frame timeouts
FIRST_FRAME_TIMEOUTS = 10.0  # the first frame after a start may take this many frame timeouts
IDLE_FRAMES = 4.0  # an engine on the CPU that does nothing at all hangs after this many times the usual
LONGEST_QUICK_LOAD = 60.0  # seconds that a form may take to load which was prepared, while nothing else plays
STOPPED_SECONDS = 1.0  # a process that was stopped (SIGSTOP) for so long does not go on by itself
LOOK_SECONDS = 0.5  # between two looks at whether it is stopped


class EngineSilence:
    """Judges the silence of one engine. Time in which other programs had its processors does not count.

    Args:
        timeouts: Those of the show.
    """

    def __init__(self, timeouts: EngineTimeouts) -> None:
        self._timeouts = timeouts
        self._cpu, self._starved, self._starved_load = CpuWatch(), StarvedTime(), StarvedTime()
        self._looked_at = 0.0  # whether it is stopped
        self._stopped_since: float | None = None

    def hangs_at_frame(self, pid: int, since: float, now: float, usual: float | None, on_cpu: bool) -> bool:
        """Whether an engine hangs that renders.

        Args:
            pid: Its process.
            since: When it began with the oldest frame under way, in monotonic seconds.
            now: Monotonic seconds.
            usual: Seconds that its frames take, median; None before the first.
            on_cpu: It renders on the CPU of this machine: a process that uses it works.
        """
        silence, timeout = now - since - self._starved.within(pid, since, now), self._timeouts.frame
        if now - since >= STOPPED_SECONDS and self._is_stopped(pid, now):
            return True
        busy = on_cpu and silence > timeout - 1.5 and self._cpu.is_busy(pid, now)
        if silence <= timeout:
            return False
        if on_cpu and self._starved.idle > max(timeout, IDLE_FRAMES * (usual or 0.0)):
            return True
        limit = FIRST_FRAME_TIMEOUTS * timeout if usual is None else SLOWEST_FRAME * usual
        return silence > (max(limit, WORKING_TIMEOUTS * timeout) if busy else limit)

    def hangs_at_load(self, pid: int, since: float, now: float) -> bool:
        """Whether an engine hangs that loads. since: When it last said that it makes progress, in monotonic seconds."""
        silence = now - since - self._starved.within(pid, since, now)
        return silence > self._timeouts.loading or (now - since >= STOPPED_SECONDS and self._is_stopped(pid, now))

    def loads_slowly(self, pid: int, started_at: float, now: float) -> bool:
        """Whether a form that was prepared, and loads within seconds, has taken far longer: it was made elsewhere."""
        return now - started_at - self._starved_load.within(pid, started_at, now) > LONGEST_QUICK_LOAD

    def _is_stopped(self, pid: int, now: float) -> bool:
        """Whether each look of the last second has found it stopped."""
        since_look = now - self._looked_at
        if since_look < LOOK_SECONDS:
            return False
        self._looked_at = now
        if look(pid).state != STOPPED:
            self._stopped_since = None
            return False
        if self._stopped_since is None or since_look > AWAY_SECONDS:
            self._stopped_since = now
        return now - self._stopped_since >= STOPPED_SECONDS
