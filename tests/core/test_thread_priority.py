"""Real-time scheduling of threads, where the system allows it; nothing where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lcm_daemon.core import thread_priority
from lcm_daemon.core.thread_priority import (
    SINK,
    TICK,
    TimeKeeper,
    end_keeping_time,
    inherited,
    keep_time,
    may_keep_time,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="real-time scheduling is used on Linux")


@pytest.fixture(autouse=True)
def _wanted() -> Iterator[None]:
    thread_priority._wanted.value = True
    yield
    thread_priority._wanted.value = False


def on_thread(work: Callable[[], Any]) -> Any:
    """What `work` returns on a thread of its own."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(20)
    return found[0]


def policy() -> tuple[int, int]:
    """Policy and priority of the calling thread."""
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0).sched_priority


def need_real_time() -> None:
    """Skip where it is not allowed: it is a right, and no part that could be installed."""
    if on_thread(lambda: os.sched_getscheduler(0)) != os.SCHED_OTHER:
        pytest.skip("the tests run at a lower priority themselves")
    if not on_thread(lambda: keep_time(SINK)):
        pytest.skip("real-time scheduling needs root, or a limit rtprio")


@linux
def test_a_thread_keeps_time_and_what_it_starts_does_not() -> None:
    need_real_time()

    def work() -> Any:
        keep_time(TICK)
        own, started = policy(), on_thread(policy)
        end_keeping_time()
        after = policy()
        assert keep_time(TICK), "the next show does so again"
        return own, started, after

    assert on_thread(work) == ((os.SCHED_RR, 2), (os.SCHED_OTHER, 0), (os.SCHED_OTHER, 0))


@linux
def test_threads_of_a_library_may_inherit_it() -> None:
    need_real_time()

    def work() -> Any:
        keep_time(SINK)
        with inherited():
            inside = on_thread(policy)
        return inside, on_thread(policy), policy()

    assert on_thread(work) == ((os.SCHED_RR, 1), (os.SCHED_OTHER, 0), (os.SCHED_RR, 1))


@linux
@pytest.mark.parametrize("refuses", [PermissionError, OSError])
def test_where_it_is_not_allowed_nothing_happens(monkeypatch: pytest.MonkeyPatch, refuses: type[OSError]) -> None:
    def refuse(*_: object) -> None:
        raise refuses(1, "Operation not permitted")

    assert may_keep_time() in (True, False)
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert on_thread(lambda: keep_time(TICK)) is False
    assert may_keep_time() is False


@linux
def test_a_priority_that_the_user_has_lowered_stays() -> None:
    def work() -> Any:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        return keep_time(TICK)

    assert on_thread(work) is False


LONG_WORK = """
import os, time
from lcm_daemon.core import thread_priority
from lcm_daemon.core.thread_priority import TICK, keep_time, prepare_timing
prepare_timing(True)
assert keep_time(TICK)
begun = time.perf_counter()
while time.perf_counter() - begun < 5 and os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR:
    pass
print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER)
thread_priority.keep_time_again()
print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER)
thread_priority.ORDINARY_SECONDS = 0.0
thread_priority.keep_time_again()
print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR)
"""


@linux
def test_a_tick_that_computes_without_a_pause_becomes_an_ordinary_thread_for_a_while() -> None:
    need_real_time()
    done = subprocess.run([sys.executable, "-c", LONG_WORK], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == 3 * "True\n", done.stderr
    assert "scheduled like all others" in done.stderr


def test_a_process_that_does_not_want_it_is_left_alone() -> None:
    thread_priority._wanted.value = False
    assert on_thread(lambda: keep_time(TICK)) is False
    with inherited():
        end_keeping_time()


@linux
@pytest.mark.parametrize(("share", "keeps"), [(0.9, False), (0.1, True)])
def test_a_thread_that_needs_much_of_a_processor_becomes_an_ordinary_one(
    share: float, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_real_time()
    clock = [100.0]

    def work() -> Any:
        keeper = TimeKeeper("source")
        for _ in range(7):
            clock[0] += 1.0
            keeper.check()
        return policy()[0] == os.SCHED_RR

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "thread_time", lambda: share * clock[0])
    assert on_thread(work) is keeps
