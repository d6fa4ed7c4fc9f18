"""When the pictures between two results are shown: evenly, in order, and soon enough."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from lcm_daemon.core.frame import Frame
from lcm_daemon.render.cadence import Cadence


def a_result(number: int, pictures: int) -> Frame:
    """Every picture has its time as its pixels: 2.5 is half way between the results 2 and 3."""
    times = [number - 1 + each / pictures for each in range(1, pictures + 1)]
    *between, last = (np.full((1, 1, 4), time, np.float32) for time in times)
    return Frame(last, number, 0.0, between=tuple(between))  # type: ignore[arg-type]


def play(arrivals: Sequence[float], fps: float, pictures: int) -> list[tuple[float, float]]:
    """What each tick shows: its time, and that of the picture."""
    cadence, shown, results = Cadence(fps), [], list(enumerate(arrivals))
    newest: Frame | None = None
    for tick in range(int(arrivals[-1] * fps)):
        now = (tick + 0.5) / fps
        while results and results[0][1] <= now:
            number, arrived = results.pop(0)
            newest = a_result(number, cadence.wanted(pictures) + 1)
            cadence.note(newest, arrived)
        if newest is not None:
            shown.append((now, float(cadence.picture(newest, now).flat[0])))
    return shown


@pytest.mark.parametrize(("rate", "fps", "pictures"), [(15, 30, 2), (12, 24, 2), (10, 30, 3), (15, 60, 4), (20, 60, 2)])
def test_every_tick_is_as_far_from_the_last_as_time_is(rate: int, fps: int, pictures: int) -> None:
    shown = play([number / rate for number in range(40)], fps, pictures)[fps:]
    steps = [after - before for (_, before), (_, after) in itertools.pairwise(shown)]
    if pictures * rate == fps:  # each tick has a picture of its own
        assert np.ptp(steps) < 1e-4
    assert min(steps) >= 0
    assert max(steps) <= rate / fps + 1 / pictures + 1e-4


def test_results_that_come_early_and_late_are_shown_in_order_and_evenly() -> None:
    random = np.random.default_rng(0)
    arrivals = np.cumsum(0.1 + random.uniform(-0.02, 0.02, 60))
    shown = play(list(arrivals), 240, 2)[240:]
    steps = [after - before for (_, before), (_, after) in itertools.pairwise(shown)]
    assert min(steps) >= 0
    assert max(steps) <= 0.5 + 1e-6, "no picture is left out"
    changes = [now for (now, _), step in zip(shown[1:], steps, strict=True) if step > 0]
    gaps = np.diff(changes)
    assert gaps.min() > 0.02
    assert gaps.max() < 0.08


@pytest.mark.parametrize("pictures", [2, 3, 4])
def test_a_result_shows_less_than_an_interval_after_it_came(pictures: int) -> None:
    shown = play([number / 10 for number in range(40)], 120, pictures)
    late = [now * 10 - time for now, time in shown[120:] if time == int(time)]
    assert max(late) < 1 + (pictures - 1) / pictures + 0.1, "it is due until the next result's pictures"
    first = [now * 10 - time for now, time in shown[120:] if time == int(time) and now * 10 - time < 1]
    assert min(first) == pytest.approx((pictures - 1) / pictures, abs=0.1)


def test_no_more_pictures_are_wanted_than_ticks_can_show() -> None:
    cadence = Cadence(30)
    assert [cadence.wanted(asked) for asked in (1, 2, 4)] == [0, 0, 0], "nothing is known yet"
    for number in range(9):
        cadence.note(a_result(number, 1), number / 15)
    assert [cadence.wanted(asked) for asked in (1, 2, 4)] == [0, 1, 1]
    for number in range(9):
        cadence.note(a_result(number, 1), 1 + number / 28)
    assert cadence.wanted(4) == 0


def test_a_result_without_pictures_before_it_shows_at_once() -> None:
    cadence = Cadence(60)
    for number in range(4):
        cadence.note(a_result(number, 2), number / 10)
    cut = a_result(4, 1)
    cadence.note(cut, 0.4)
    assert cadence.picture(cut, 0.4) is cut.pixels
