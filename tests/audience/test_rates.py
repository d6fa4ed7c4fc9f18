"""PaceLimit: a burst, then a pace, for each key."""

from __future__ import annotations

from lcm_daemon.audience import rates
from lcm_daemon.audience.rates import PaceLimit


def test_a_burst_then_one_each_pause() -> None:
    time = [0.0]
    limit = PaceLimit(3, 2.0, lambda: time[0])
    assert [limit.wait("a") for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]
    assert limit.allows("b")
    time[0] = 1.5
    assert limit.wait("a") == 0.5
    time[0] = 2.0
    assert limit.allows("a")
    assert not limit.allows("a")
    time[0] = -50.0  # a clock that is set back gives nothing and takes nothing
    assert limit.wait("a") == 2.0


def test_few_keys_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(rates, "KEYS_KEPT", 10)
    limit = PaceLimit(1, 1.0, lambda: 0.0)
    assert all(limit.allows(n) for n in range(100))
    assert len(limit._left) == 10
