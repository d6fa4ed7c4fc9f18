"""Frames are handed out evenly in time, whatever the engines began with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

import pytest

from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.render.pacer import Pacer, even_interval


def deliver(services: Sequence[float], seconds: float, jitter: float = 0.0) -> tuple[list[float], list[int]]:
    """Let engines of these seconds a frame work, all free at first; when results come, and how many of each engine.

    An engine is asked again the moment it is free, or when the pacer lets it have a frame.
    """
    pacer, chance, known = Pacer(), random.Random(0), [0.0] * len(services)
    free, now = [0.0] * len(services), 0.0
    results: list[tuple[float, int]] = []
    while now < seconds:
        engine = min(range(len(services)), key=lambda each: free[each])
        now = max(now, free[engine], pacer.due(even_interval(known)))
        pacer.note_sent(now)
        taken = services[engine] * (1.0 + jitter * chance.uniform(-1.0, 1.0))
        free[engine], known[engine] = now + taken, services[engine]
        results.append((free[engine], engine))
    settled = sorted(time for time, _ in results if time > 0.2 * seconds)
    return settled, [sum(engine == each for _, engine in results) for each in range(len(services))]


@pytest.mark.parametrize("engines", [1, 2, 4, 8])
@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_equal_engines_give_a_result_every_nth_of_their_time(engines: int, jitter: float) -> None:
    times, _ = deliver([0.05] * engines, 20.0, jitter)
    gaps = [after - before for before, after in pairwise(times)]
    assert 1.0 / fmean(gaps) >= 0.95 * engines / 0.05
    assert quantile_of(sorted(gaps), 0.95) <= 1.5 * 0.05 / engines


def test_a_slow_engine_gets_fewer_frames() -> None:
    times, frames = deliver([0.05, 0.05, 0.2], 20.0)
    assert frames[2] < 0.3 * frames[0]
    assert len(times) / 16.0 >= 0.9 * (20 + 20 + 5), "and all of them add up"


def test_a_single_engine_never_waits() -> None:
    assert even_interval([0.05]) == 0.0
    assert even_interval([]) == even_interval([0.0, 0.0]) == 0.0
    assert even_interval([0.05, 0.0]) == 0.025, "a new engine counts as the others"
