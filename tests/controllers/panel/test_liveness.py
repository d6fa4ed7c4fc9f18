"""When a daemon counts as alive, and when as ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcm_daemon.controllers.panel.liveness import MAX_OUTPUT_AGE, MAX_PICTURE_AGE, MAX_STAGE_AGE, liveness
from lcm_daemon.core.stage_numbers import StageNumbers

GOOD = StageNumbers(100.0, output_at=99.97, picture_age=0.03)


def test_a_show_that_plays_is_alive_and_ready() -> None:
    found = liveness(GOOD, 100.2)
    assert (found.is_alive, found.is_ready, found.reason) == (True, True, "")
    assert (found.stage_age, found.output_age, found.picture_age) == pytest.approx((0.2, 0.23, 0.23))


@pytest.mark.parametrize(("numbers", "now", "reason"), [
    (replace(GOOD, output_at=None), 100.0, "no frame has reached a sink yet"),
    (replace(GOOD, output_at=99.0 - MAX_OUTPUT_AGE), 100.0, "no frame has reached a sink for 3.0 s"),
    (replace(GOOD, picture_age=None), 100.0, "no picture has been rendered yet"),
    (replace(GOOD, picture_age=MAX_PICTURE_AGE + 1), 100.0, "the picture is 11 s out of date"),
])
def test_a_stage_that_ticks_is_alive_though_it_is_not_ready(numbers: StageNumbers, now: float, reason: str) -> None:
    found = liveness(numbers, now)
    assert (found.is_alive, found.is_ready, found.reason) == (True, False, reason)


def test_a_stage_that_says_nothing_is_not_alive() -> None:
    assert not liveness(None, 0.0).is_alive
    found = liveness(GOOD, 100.1 + MAX_STAGE_AGE)
    assert (found.is_alive, found.is_ready) == (False, False)
    assert found.reason == "the stage has not ticked for 5.1 s"


def test_a_closed_show_is_ready_while_its_frames_go_out() -> None:
    closed = replace(GOOD, is_open=False, picture_age=None)
    assert liveness(closed, 100.0).is_ready
    assert not liveness(replace(closed, output_at=90.0), 100.0).is_ready
