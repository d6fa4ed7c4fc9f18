"""Silence for which other programs are to blame."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from lcm_daemon.processes.starvation import AWAY_SECONDS, RunTimes, StarvedTime, run_times

Life = Callable[[float], RunTimes | None]


def excused(life: Life, seconds: float = 20.0, step: float = 0.02) -> float:
    """Seconds of a silence of this length that do not count. life: The times of the process, by time."""
    watch, now, found = StarvedTime(lambda pid: life(now)), 100.0, 0.0
    while now < 100.0 + seconds:
        found = watch.within(1, 100.0, now)
        now += step
    return found


@pytest.mark.parametrize(("life", "expected"), [
    (lambda t: RunTimes(0.0, 0.0), 0.0),
    (lambda t: RunTimes(t, 0.0), 0.0),
    (lambda t: RunTimes(0.05 * t, 0.95 * t), 18.0),
    (lambda t: RunTimes(0.1 * t, 3.9 * t), 18.5),
    (lambda t: RunTimes(t, t), 9.5),
    (lambda t: RunTimes(0.001 * t, 0.009 * t), 0.2),
    (lambda t: None, 0.0),
], ids=["stopped or asleep", "an endless loop", "starved", "four threads starve", "two threads, one processor",
        "a helper thread starves while the others sleep", "not known"])
def test_time_without_a_processor_does_not_count(life: Life, expected: float) -> None:
    assert excused(life) == pytest.approx(expected, abs=0.8)


@pytest.mark.parametrize(("life", "expected"), [
    (lambda t: RunTimes(0.0, 0.0), 18.0), (lambda t: RunTimes(0.001 * t, 0.001 * t), 18.0),
    (lambda t: RunTimes(0.0, t), 0.0), (lambda t: RunTimes(0.1 * t, 0.0), 0.0), (lambda t: None, 0.0),
    (lambda t: RunTimes(min(t, 110.0), 0.0), 9.0),
])
def test_a_process_that_neither_runs_nor_wants_to_is_idle(life: Life, expected: float) -> None:
    watch = StarvedTime(lambda pid: life(now))
    for tenth in range(200):
        now = 100.0 + tenth / 10
        watch.within(1, 100.0, now)
    assert watch.idle == pytest.approx(expected, abs=1.0)


def test_each_silence_is_judged_by_itself() -> None:
    now = 0.0
    watch = StarvedTime(lambda pid: RunTimes(0.0, now))
    for since in (0.0, 50.0):
        for tenth in range(200):
            now = since + tenth / 10
            found = watch.within(1, since, now)
        assert found == pytest.approx(18.5, abs=1.0)
    assert watch.within(2, 50.0, now) == 0.0, "another process"


def test_the_time_in_which_the_caller_was_away_does_not_count() -> None:
    watch = StarvedTime(lambda pid: RunTimes(0.0, 0.0))
    assert watch.within(1, 10.0, 10.0) == 0.0
    assert watch.within(1, 10.0, 10.0 + AWAY_SECONDS) == 0.0
    assert watch.within(1, 10.0, 500.0) == 488.0
    assert watch.within(1, 499.0, 900.0) == 400.0, "it was away before this silence too"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_system_says_what_the_threads_have_run_and_waited() -> None:
    before = run_times(os.getpid())
    assert before is not None
    sum(range(2_000_000))
    after = run_times(os.getpid())
    assert after is not None
    assert after.ran > before.ran
    assert after.waited >= before.waited
    assert run_times(2**22 + 1) is None
