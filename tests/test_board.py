"""The board: what controllers ask for is coerced, gathered, and heard back."""

from __future__ import annotations

import pytest

from lcm_daemon.board import Board, Change
from lcm_daemon.health import Health
from lcm_daemon.parameters import TABLE, Parameters


class Rig:
    """A board that counts how often it wakes its desk."""

    def __init__(self) -> None:
        self.woken = 0
        self.board = Board(TABLE, Parameters().targets(), Health(), self._wake)

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_of_several_moves_the_newest_is_handed_over_once(rig: Rig) -> None:
    for value in (0.1, 0.2, 7):
        assert rig.board.set("strength", value, "osc/a")
    pending = rig.board.take()
    assert pending.changes == {"strength": Change("strength", 1.0, "osc/a")}
    assert not rig.board.take()


def test_what_is_refused_wakes_nobody_and_is_counted(rig: Rig) -> None:
    assert not rig.board.set("strength", "loud", "osc/a")
    assert not rig.board.set("nonsense", 1, "osc/a")
    assert not rig.board.command("explode", "osc/a")
    assert (rig.woken, bool(rig.board.take())) == (0, False)
    assert rig.board.health.counts() == {"desk/refused": 1, "desk/unknown": 2}


def test_values_change_only_once_the_stage_says_so(rig: Rig) -> None:
    heard: list[list[Change]] = []
    rig.board.listeners.append(heard.append)
    rig.board.set("steps", 4, "panel/1")
    assert rig.board.values["steps"] == 2
    rig.board.hear([Change("steps", 4, "panel/1")], {"fps": 30.0})
    assert rig.board.values["steps"] == 4
    assert rig.board.status == {"fps": 30.0}
    assert heard == [[Change("steps", 4, "panel/1")]]


def test_panic_voids_what_was_asked_before_it_and_not_what_comes_after(rig: Rig) -> None:
    rig.board.set("strength", 0.9, "osc/a")
    rig.board.command("panic", "osc/b")
    rig.board.set("steps", 3, "osc/a")
    pending = rig.board.take()
    assert pending.commands == [("panic", "osc/b")]
    assert list(pending.changes) == ["steps"]


def test_a_flood_of_commands_stays_small(rig: Rig) -> None:
    for _ in range(10_000):
        rig.board.command("panic", "osc/a")
    assert len(rig.board.take().commands) == 64
