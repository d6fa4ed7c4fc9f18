"""Real-time scheduling for the threads that keep the output's time, where the system allows it. Linux only.

Beside an engine on the CPU, which has work for every processor, an ordinary thread waits for its turn: measured on two
processors with four busy processes, the tick woke up to 0.27 s late. With SCHED_RR it was late by 0.2 ms at most. Such
a thread needs few per cent of a processor. One that computes without a pause becomes an ordinary thread, for a while.

Root may do this, and users whose limit "rtprio" is above 0 (limits.conf(5), LimitRTPRIO= of systemd).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lcm_daemon.core.clock import raise_timer_resolution

log = logging.getLogger(__name__)

SINK, TICK = 1, 2  # sinks and sources; the tick: priorities from 1 to 99; those of sound servers are higher
SWITCH_INTERVAL = 0.0005  # seconds: a busy sink thread then delays the tick by 0.7 ms at most, not by 7
MOST_SHARE = 0.5  # of a processor; a thread that needs more, as to decode large videos, would starve the engine
SHARE_SECONDS = 5.0  # over which that is measured
LONGEST_WORK = 0.5  # seconds of processor without a pause, after which the tick is an ordinary thread for a while
ORDINARY_SECONDS = 60.0  # for how long: one pause of a virtual machine must not cost months of even time


@dataclass
class _Wanted:
    """Whether this process wants it."""

    value: bool = False


@dataclass
class _LongWork:
    """When the tick has become an ordinary thread, in monotonic seconds; infinity if it has not."""

    at: float = math.inf


_wanted, _long_work = _Wanted(), _LongWork()


def prepare_timing(real_time: bool) -> None:
    """Set up this process for a tick.

    Args:
        real_time: Whether its threads may `keep_time`. Before this call they may not.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    raise_timer_resolution()
    _wanted.value = real_time and sys.platform == "linux" and hasattr(os, "sched_setscheduler")


def keep_time(priority: int) -> bool:
    """Schedule the calling thread before all ordinary ones, not the threads and processes that it starts.

    A thread whose priority was lowered by the user stays as it is.

    Args:
        priority: SINK or TICK, with which the tick goes before sinks and sources.

    Returns:
        Whether it is scheduled so.
    """
    if sys.platform != "linux" or not _wanted.value:
        return False
    try:
        if _policy() != os.SCHED_OTHER or os.getpriority(os.PRIO_PROCESS, 0) > 0:
            return False
        if threading.current_thread() is threading.main_thread():
            _become_ordinary_after_long_work()
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except (OSError, ValueError):  # the system does not allow it
        return False
    return True


def keep_time_again() -> None:
    """Schedule the tick before others again, ORDINARY_SECONDS after its long work. Call it now and then, on its thread.
    """
    if time.monotonic() - _long_work.at >= ORDINARY_SECONDS:
        _long_work.at = math.inf
        keep_time(TICK)


def may_keep_time() -> bool:
    """Whether the system would allow it. Changes nothing."""
    if sys.platform != "linux" or not hasattr(os, "sched_setscheduler"):
        return False
    found: list[bool] = []

    def attempt() -> None:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(SINK))
            found.append(True)

    thread = threading.Thread(target=attempt, name="real-time")
    thread.start()
    thread.join()
    return bool(found)


def end_keeping_time() -> None:
    """Schedule the calling thread as an ordinary one."""
    if sys.platform == "linux" and hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            if _policy() == os.SCHED_RR:
                os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


class TimeKeeper:
    """Real-time scheduling of the calling thread, for as long as it needs a small share of a processor.

    It matters to every thread of the stage: one that is not given a processor while it holds Python's lock holds up the
    tick.

    Args:
        label: Of the thread, for the log.
    """

    def __init__(self, label: str) -> None:
        self._label, self._keeps = label, keep_time(SINK)
        self._begun, self._spent = time.perf_counter(), time.thread_time() if self._keeps else 0.0

    def check(self) -> None:
        """Call it often."""
        if not self._keeps or (seconds := time.perf_counter() - self._begun) < SHARE_SECONDS:
            return
        spent = time.thread_time()
        if spent - self._spent > MOST_SHARE * seconds:
            self._keeps = False
            end_keeping_time()
            log.info("%s: its thread needs %.0f %% of a processor; it is scheduled as an ordinary one", self._label,
                     100 * (spent - self._spent) / seconds)
        self._begun, self._spent = time.perf_counter(), spent


@contextlib.contextmanager
def inherited() -> Iterator[None]:
    """Threads that a library starts in this block are scheduled as the calling one: those that send its frames."""
    if sys.platform != "linux" or not _wanted.value or _policy() != os.SCHED_RR:
        yield
        return
    parameter = os.sched_getparam(0)
    try:
        with contextlib.suppress(OSError):  # without CAP_SYS_NICE they are ordinary threads
            os.sched_setscheduler(0, os.SCHED_RR, parameter)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, parameter)


def _policy() -> int:
    """Policy of the calling thread, without the flag that those which it starts are reset."""
    if sys.platform != "linux":
        return 0
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


def _become_ordinary_after_long_work() -> None:
    """Let the system send SIGXCPU after LONGEST_WORK without a pause (setrlimit(2), RLIMIT_RTTIME)."""
    if sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    signal.signal(signal.SIGXCPU, _on_long_work)
    resource.setrlimit(resource.RLIMIT_RTTIME, (int(LONGEST_WORK * 1e6), hard))


def _on_long_work(number: int, frame: object) -> None:
    """The system sends this to the tick also where another thread of the process, such as a sink, was the busy one."""
    end_keeping_time()
    _long_work.at = time.monotonic()
    log.warning("the output needs a whole processor; its thread is scheduled like all others for %.0f s",
                ORDINARY_SECONDS)
