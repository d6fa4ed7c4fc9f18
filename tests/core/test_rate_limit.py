"""How many events count in a second."""

from __future__ import annotations

from lcm_daemon.core.rate_limit import RateLimit
from tests.conftest import ManualClock


def test_each_key_has_its_own_limit_and_a_second_begins_anew(clock: ManualClock) -> None:
    limit = RateLimit(2, clock.now)
    assert [limit.allows("a") for _ in range(4)] == [True, True, False, False]
    assert limit.allows("b")
    clock.sleep(0.9)
    assert not limit.allows("a")
    clock.sleep(0.1)
    assert [limit.allows("a") for _ in range(3)] == [True, True, False]
