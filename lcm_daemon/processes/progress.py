"""Whether a process makes progress: what it does at the moment, and the processor time that it has used."""

from __future__ import annotations

import sys
from dataclasses import dataclass

STOPPED = "stopped"  # by a signal or a debugger: it does nothing until it is continued
ASLEEP = "asleep"  # its main thread waits for something
RUNNABLE = "runnable"  # its main thread runs, or would if a processor were free
GONE = "gone"  # it has ended
_STATES = {"T": STOPPED, "t": STOPPED, "R": RUNNABLE, "Z": GONE, "X": GONE}  # of proc(5); the others are kinds of sleep


@dataclass(frozen=True)
class ProcessState:
    """A look at a process.

    Attributes:
        state: STOPPED, ASLEEP, RUNNABLE or GONE; that of its main thread.
        cpu: Processor time of all its threads, in seconds; on Linux a multiple of 0.01 s.
    """

    state: str
    cpu: float


if sys.platform == "linux":
    import os

    _TICKS = os.sysconf("SC_CLK_TCK")

    def look(pid: int) -> ProcessState:
        """What a process does now. It reads one file of /proc, which takes 20 us and waits for nothing."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read().decode("ascii", "replace")
        except OSError:
            return ProcessState(GONE, 0.0)
        fields = text.rpartition(")")[2].split()  # the name before it may contain anything
        return ProcessState(_STATES.get(fields[0], ASLEEP), (int(fields[11]) + int(fields[12])) / _TICKS)

else:
    import psutil

    def look(pid: int) -> ProcessState:
        """What a process does now. On Windows a suspended process counts as stopped."""
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                status, times = process.status(), process.cpu_times()
        except psutil.Error:
            return ProcessState(GONE, 0.0)
        known = {psutil.STATUS_STOPPED: STOPPED, psutil.STATUS_RUNNING: RUNNABLE, psutil.STATUS_ZOMBIE: GONE}
        return ProcessState(known.get(status, ASLEEP), times.user + times.system)
