"""Refusals: counted, logged, and kept for the desk."""

from __future__ import annotations

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.refusals import MAX_WAITING, Refusal, Refusals


def test_a_refusal_is_counted_logged_and_returned_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    refusals = Refusals(metrics)
    refusals.add("cue/unknown", "osc/127.0.0.1:9", "no cue 'x'")
    refusals.report("midi/pad", "recipe x: no memory")
    assert refusals.pop() == [Refusal("osc/127.0.0.1:9", "no cue 'x'"), Refusal("midi/pad", "recipe x: no memory")]
    assert refusals.pop() == []
    assert metrics.counts() == {"cue/unknown": 1}
    assert caplog.messages == ["osc/127.0.0.1:9: no cue 'x'"]


def test_a_flood_is_limited() -> None:
    metrics = Metrics()
    refusals = Refusals(metrics)
    for number in range(10 * MAX_WAITING):
        refusals.add("refused", "osc", f"value {number}")
    assert len(refusals.pop()) == MAX_WAITING
    assert metrics.counts() == {"refused": 10 * MAX_WAITING}
