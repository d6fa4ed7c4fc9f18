"""The rate that the output reaches."""

from __future__ import annotations

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.stage import output_rate
from lcm_daemon.stage.output_rate import WINDOW, OutputRate


def test_the_rate_is_what_was_not_missed() -> None:
    rate = OutputRate(1000.0, Metrics())
    assert rate.reached(50.0, 7) == 1000.0, "what was missed before the first look is not known"
    assert rate.reached(50.5, 107) == 800.0
    assert rate.reached(51.0, 107) == 1000.0
    assert rate.reached(51.5, 5000) == 0.0


@pytest.mark.parametrize(("missed_a_second", "warns"), [(40, False), (60, True)])
def test_ten_slow_seconds_are_one_warning(
    missed_a_second: int, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    rate = OutputRate(1000.0, metrics)
    for second in range(int(WINDOW)):
        rate.reached(100.0 + second, second * missed_a_second)
    assert caplog.text == "", "the window is not over"
    rate.reached(100.0 + WINDOW, int(WINDOW) * missed_a_second)
    assert ("output: fewer than 1000 frames a second" in caplog.text) == warns
    assert metrics.total("output/slow") == warns


def test_the_scheduling_of_the_tick_is_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []
    monkeypatch.setattr(output_rate, "keep_time_again", lambda: looks.append(True))
    rate = OutputRate(1000.0, Metrics())
    for second in range(3 * int(WINDOW) + 1):
        rate.reached(100.0 + second, 0)
    assert len(looks) == 3
