"""The numbers that are shown."""

from __future__ import annotations

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.stage.status_report import StatusNumbers


def test_counters_become_rates_and_timings_milliseconds() -> None:
    metrics = Metrics()
    status = StatusNumbers(metrics)
    assert status.collect(100.0, {"show": "mirror"})["fps"] == 0.0
    metrics.count("engine/rendered", 15)
    metrics.count("dropped/source", 2)
    metrics.count("dropped/sink")
    metrics.time("latency", 0.05)
    found = status.collect(100.5, {"show": "mirror"})
    assert (found["fps"], found["dropped"], found["latency"], found["show"]) == (30.0, 3, 50.0, "mirror")


def test_it_is_due_twice_a_second_and_counts_its_time() -> None:
    status = StatusNumbers(Metrics())
    status.collect(100.0, {})
    assert not status.is_due(100.4)
    assert status.is_due(100.5)
    assert status.collect(161.0, {})["uptime"] == 61
