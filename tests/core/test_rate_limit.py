"""How many events count in a second, and how long others wait."""

from __future__ import annotations

import math

import pytest

from lcm_daemon.core import rate_limit
from lcm_daemon.core.rate_limit import Pace, RateLimit
from tests.conftest import ManualClock


def test_each_key_has_its_own_limit_and_a_second_begins_anew(clock: ManualClock) -> None:
    limit = RateLimit(2, clock.now)
    assert [limit.allows("a") for _ in range(4)] == [True, True, False, False]
    assert limit.allows("b")
    clock.sleep(0.9)
    assert not limit.allows("a")
    clock.sleep(0.1)
    assert [limit.allows("a") for _ in range(3)] == [True, True, False]


def test_a_pace_lets_some_come_at_once_and_the_others_evenly(clock: ManualClock) -> None:
    pace = Pace(10.0, 5, 1.0, clock.now)
    assert [pace.wait("one") for _ in range(5)] == pytest.approx([0.0] * 5)
    assert [pace.wait("one") for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert pace.wait("two") == 0.0, "others have a pace of their own"
    clock.sleep(0.3)
    assert pace.wait("one") == pytest.approx(0.1)
    clock.sleep(10.0)
    assert [pace.wait("one") for _ in range(6)] == pytest.approx([0.0] * 5 + [0.1])


def test_what_would_wait_too_long_is_refused_and_does_not_count(clock: ManualClock) -> None:
    pace = Pace(10.0, 1, 1.05, clock.now)
    waits = [pace.wait("one") for _ in range(30)]
    assert waits[:11] == pytest.approx([number / 10 for number in range(11)])
    assert set(waits[11:]) == {math.inf}
    clock.sleep(0.5)
    assert pace.wait("one") == pytest.approx(0.6)


def test_a_pace_forgets_who_is_quiet(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MOST_KEYS", 3)
    pace = Pace(10.0, 2, 1.0, clock.now)
    for number in range(10):
        pace.wait(number)
        clock.sleep(0.05)
    assert len(pace._due) <= 4
