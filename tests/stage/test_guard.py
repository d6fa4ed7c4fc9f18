"""Parts of a tick that fail: the others run, the log says it, and an alarm lasts while they do."""

from __future__ import annotations

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.stage.guard import ALARM_SECONDS, FAILED, Guard
from tests.conftest import ManualClock


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_part_that_fails_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    clock, metrics, ran = ManualClock(), Metrics(), list[str]()
    guard = Guard(metrics, clock.now)
    assert guard.was_whole()
    assert guard.alarm() == ""
    for _ in range(100):
        guard.run("the schedule", fail, "a bad minute\nand more")
        guard.run("the output", ran.append, "shown")
    assert ran == ["shown"] * 100
    assert metrics.total(FAILED) == 100
    assert len(caplog.records) == 7  # the 1st, 2nd, 4th ... 64th time
    assert "the schedule failed; the show continues" in caplog.text
    assert guard.alarm() == "the schedule fails: ValueError: a bad minute"
    assert not guard.was_whole()
    guard.run("the schedule", ran.append, "again")
    assert guard.was_whole()
    clock.sleep(ALARM_SECONDS + 0.1)
    assert guard.alarm() == ""
