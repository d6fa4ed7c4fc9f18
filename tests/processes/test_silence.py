"""Which silence of a child is a hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lcm_daemon.processes.progress import ASLEEP, RUNNABLE, STOPPED, ProcessState
from lcm_daemon.processes.silence import LONGEST, SilenceWatch

Life = Callable[[float], ProcessState]


def hangs_after(life: Life, seconds: float = 40.0, step: float = 0.02) -> float | None:
    """Seconds from the last answer to the verdict; None for none. life: The process at a time."""
    now = 100.0
    watch = SilenceWatch(lambda pid: life(now - 100.0))
    watch.is_hung(1, now)
    watch.heard(now)
    while now < 100.0 + seconds:
        now += step
        if watch.is_hung(1, now):
            return round(now - 100.0, 1)
    return None


@pytest.mark.parametrize(("life", "expected"), [
    (lambda t: ProcessState(STOPPED, 1.0), 0.3),
    (lambda t: ProcessState(ASLEEP if t < 1.0 else STOPPED, 1.0), 1.0),
    (lambda t: ProcessState(ASLEEP, 1.0), 2.3),
    (lambda t: ProcessState(RUNNABLE, t), 3.3),
    (lambda t: ProcessState(RUNNABLE, t / 100), LONGEST),  # others have the processors
    (lambda t: ProcessState(ASLEEP if t % 1.0 < 0.9 else RUNNABLE, 1.0), LONGEST),  # it wants one at times
    (lambda t: ProcessState(ASLEEP, t / 20), LONGEST),  # its other threads work, slowly
], ids=["stopped", "stopped later", "asleep", "an endless loop", "starved", "starved, and waits", "works slowly"])
def test_what_the_process_does_decides(life: Life, expected: float) -> None:
    assert hangs_after(life) == pytest.approx(expected, abs=0.15)


def test_an_answer_ends_a_silence() -> None:
    now, watch = 5.0, SilenceWatch(lambda pid: ProcessState(ASLEEP, 1.0))
    for _ in range(400):
        now += 0.05
        assert not watch.is_hung(1, now)
        if round(now, 2) % 1.5 < 0.06:
            watch.heard(now)


def test_the_time_in_which_the_caller_was_away_does_not_count() -> None:
    watch = SilenceWatch(lambda pid: ProcessState(STOPPED, 1.0))
    watch.heard(1.0)
    assert not watch.is_hung(1, 1.01)
    assert not watch.is_hung(1, 60.0), "all were stopped, as by Ctrl-Z"
    assert not watch.is_hung(1, 60.2)
    assert watch.is_hung(1, 60.3)


def test_one_that_starts_is_only_asked_whether_it_is_stopped() -> None:
    """It may sleep while it opens devices, and be busy with its imports."""
    for life, expected in ((ASLEEP, False), (RUNNABLE, False), (STOPPED, True)):
        watch = SilenceWatch(lambda pid, life=life: ProcessState(life, 9.0))  # type: ignore[misc]
        assert any(watch.is_stopped(1, 1.0 + step / 50) for step in range(500)) is expected
