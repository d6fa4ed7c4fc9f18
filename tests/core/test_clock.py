"""Ticker: ticks do not drift and do not come in bursts."""

from __future__ import annotations

import pytest

from lcm_daemon.core.clock import MonotonicClock, Ticker
from tests.conftest import ManualClock


def test_ticks_are_due_at_start_plus_n_over_rate(clock: ManualClock) -> None:
    ticker = Ticker(30.0, clock)
    for beat in range(10_000):
        assert ticker.due == pytest.approx(1000.0 + beat / 30.0, abs=1e-9)
        clock.time = ticker.due
        ticker.advance()
    assert ticker.skipped == 0


def test_a_late_tick_does_not_move_the_next(clock: ManualClock) -> None:
    ticker = Ticker(10.0, clock)
    ticker.advance()
    clock.time = 1000.15
    assert ticker.advance() == pytest.approx(0.05)
    assert ticker.due == pytest.approx(1000.2)


def test_missed_ticks_are_skipped_and_counted(clock: ManualClock) -> None:
    ticker = Ticker(10.0, clock)
    clock.time = 1000.55
    ticker.advance()
    assert ticker.skipped == 5
    assert ticker.due == pytest.approx(1000.6)


def test_a_rate_must_be_positive(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Ticker(0.0, clock)


def test_the_monotonic_clock_sleeps_long_enough() -> None:
    clock = MonotonicClock()
    before = clock.now()
    clock.sleep(0.01)
    clock.sleep(-1.0)
    assert clock.now() - before >= 0.01
