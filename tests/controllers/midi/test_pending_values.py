"""The values as MIDI sees them: ahead of the stage, for a while."""

from __future__ import annotations

from lcm_daemon.controllers.midi.pending_values import SETTLE, Values
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import Change
from tests.conftest import ManualClock


def made() -> tuple[ControlState, Values, ManualClock]:
    clock = ManualClock()
    controls = ControlState(TABLE, {name: p.default for name, p in TABLE.items()}, Metrics(), lambda: None)
    return controls, Values(controls, clock.now), clock


def test_what_was_asked_for_counts_before_the_stage_has_answered() -> None:
    controls, values, _ = made()
    assert values.set("steps", 99.0, "midi/a/cc 1")
    assert (values["steps"], controls.values["steps"]) == (8, 2)


def test_an_own_echo_is_older_than_what_was_asked_for_since() -> None:
    _, values, _ = made()
    values.set("steps", 3, "midi/a/cc 1")
    values.set("steps", 4, "midi/a/cc 1")
    values.hear([Change("steps", 3, "midi/a/cc 1")])
    assert values["steps"] == 4


def test_another_hand_ends_it() -> None:
    controls, values, _ = made()
    values.set("steps", 3, "midi/a/cc 1")
    controls.values["steps"] = 5
    values.hear([Change("steps", 5, "osc/b")])
    assert values["steps"] == 5


def test_what_never_came_to_be_is_forgotten() -> None:
    _, values, clock = made()
    values.set("steps", 3, "midi/a/cc 1")
    clock.sleep(SETTLE + 0.01)
    assert values["steps"] == 2
    values.set("steps", 3, "midi/a/cc 1")
    values.forget()
    assert values["steps"] == 2


def test_what_the_board_refuses_was_not_asked_for() -> None:
    _, values, _ = made()
    assert not values.set("steps", "many", "midi/a/cc 1")
    assert not values.set("stairs", 1, "midi/a/cc 1")
    assert (values["steps"], values.parameter("stairs")) == (2, None)
