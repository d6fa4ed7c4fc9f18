"""Counters, timings, and the log throttle."""

from __future__ import annotations

import logging

import pytest

from lcm_daemon.core.metrics import BOUNDS, TEXTS, LogThrottle, Metrics, quantile_of


def test_counts_add_up_by_path_and_prefix() -> None:
    metrics = Metrics()
    metrics.count("dropped/source", 3)
    metrics.count("dropped/sink")
    metrics.count("osc/refused")
    assert metrics.total("dropped/") == 4
    assert metrics.counts("osc/") == {"osc/refused": 1}


def test_timings_give_quantiles_of_the_last_512() -> None:
    metrics = Metrics()
    for i in range(1000):
        metrics.time("t", float(i))
    assert metrics.timing("t", 0.0) == 488.0
    assert metrics.timing("t", 1.0) == 999.0
    assert metrics.timing("nothing") == 0.0


def test_quantiles_are_nearest_rank() -> None:
    assert [quantile_of([1.0, 2.0, 3.0, 4.0], q) for q in (0.0, 0.5, 0.99)] == [1.0, 3.0, 4.0]


@pytest.mark.slow
def test_a_million_warnings_are_twenty_lines(caplog: pytest.LogCaptureFixture) -> None:
    seldom = LogThrottle(logging.getLogger("test"), Metrics())
    for _ in range(1_000_000):
        seldom.warn("bad", "bad packet")
    assert len(caplog.records) == 20
    assert caplog.records[-1].getMessage() == "bad packet (524288 times)"


def test_different_texts_are_counted_each_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    throttle = LogThrottle(logging.getLogger("test"), metrics)
    for number in range(7):
        throttle.warn("refused", f"value {number}")
    throttle.warn("refused", "value 3")
    assert caplog.messages == [*(f"value {number}" for number in range(7)), "value 3 (2 times)"]
    assert metrics.counts() == {"refused": 8}


def test_a_flood_of_different_texts_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    throttle = LogThrottle(logging.getLogger("test"))
    for number in range(10_000):
        throttle.warn("refused", f"value {number}")
    assert len(caplog.messages) == TEXTS + 14
    assert caplog.messages[-1] == f"value {TEXTS + 8191} (8192 others like it)"
    throttle.warn("refused", "value 1")
    assert caplog.messages[-1] == "value 1 (2 times)"


def test_an_exception_is_logged_with_its_traceback_as_rarely(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    throttle = LogThrottle(logging.getLogger("test"), metrics)
    for number in range(5):
        try:
            raise ValueError(f"fault {number}")
        except ValueError:
            throttle.exception("tick/failed", "a tick failed")
    assert metrics.total("tick/failed") == 5
    assert [record.getMessage() for record in caplog.records] == [
        "a tick failed", "a tick failed (2 times)", "a tick failed (4 times)"]
    assert all(record.exc_info and record.levelno == logging.ERROR for record in caplog.records)
    LogThrottle(logging.getLogger("test")).warn("own", "without metrics it has counters of its own")
    assert caplog.messages[-1].startswith("without metrics")


def test_durations_are_counted_in_ranges_from_the_start() -> None:
    metrics = Metrics()
    for seconds in (0.0004, BOUNDS[0], 0.03, 99.0):
        metrics.time("latency", seconds)
    found = metrics.durations()["latency"]
    assert found.counts == (2, *[int(bound == 0.0334) for bound in BOUNDS[1:]], 1)
    assert found.seconds == pytest.approx(99.0314)
