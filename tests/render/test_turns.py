"""Fair turns: the stage's share, and sessions in turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lcm_daemon.render.turns import OWN, Turns

SHARES = st.floats(0.0, 1.0)
CUSTOMERS = [OWN, *"12345678"]
WAITING = st.lists(st.sets(st.sampled_from(CUSTOMERS), min_size=1), min_size=1, max_size=300)


def serve(turns: Turns, waiting: set[str]) -> str:
    """The customer that is served."""
    first = turns.order(sorted(waiting))[0]
    turns.served(first, waiting)
    return first


@given(SHARES, st.integers(1, 8), st.integers(1, 500))
def test_the_own_picture_has_its_share_and_sessions_have_even_parts_of_the_rest(
    share: float, sessions: int, frames: int
) -> None:
    turns, waiting = Turns(share), set(CUSTOMERS[:sessions + 1])
    served = Counter(serve(turns, waiting) for _ in range(frames))
    assert abs(served[OWN] - share * frames) <= 1.001
    counts = [served[name] for name in waiting - {OWN}]
    assert max(counts) - min(counts) <= 1


@given(SHARES, WAITING)
def test_no_session_that_waits_is_passed_over_by_another_twice(share: float, rounds: list[set[str]]) -> None:
    """Between two frames of one session, each session that waits all the time is served."""
    turns = Turns(share)
    since: dict[str, Counter[str]] = {name: Counter() for name in CUSTOMERS[1:]}  # what was served while it waited
    for waiting in rounds:
        first = serve(turns, waiting)
        assert first in waiting
        for name, others in since.items():
            if name == first or name not in waiting:
                others.clear()
            elif first != OWN:
                others[first] += 1
                assert others[first] <= 1


@given(SHARES, WAITING)
def test_the_own_picture_is_served_in_time_whatever_happened_before(share: float, rounds: list[set[str]]) -> None:
    turns = Turns(share)
    for waiting in rounds:
        serve(turns, waiting)
    every = set(CUSTOMERS)
    frames = 0
    while share > 0.02 and serve(turns, every) != OWN:
        frames += 1
        assert frames <= 1 / share + 1


def test_time_without_frames_saves_up_no_turns() -> None:
    turns = Turns(0.5)
    for _ in range(100):
        assert serve(turns, {"1"}) == "1"
    assert Counter(serve(turns, {OWN, "1"}) for _ in range(10)) == {OWN: 5, "1": 5}


def test_a_session_that_ended_is_forgotten() -> None:
    turns = Turns(0.5)
    serve(turns, {"1"})
    serve(turns, {"2"})
    turns.end("2")
    assert turns.order(["1", "2"]) == ["2", "1"]
