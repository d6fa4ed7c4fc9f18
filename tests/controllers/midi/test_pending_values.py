"""Pending values: requested values count until the stage answers."""

from __future__ import annotations

from lcm_daemon.controllers.midi.pending_values import ECHO_TIMEOUT, PendingValues
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import Change
from tests.conftest import ManualClock


def made() -> tuple[ControlState, PendingValues, ManualClock]:
    clock = ManualClock()
    controls = ControlState(TABLE, {name: p.default for name, p in TABLE.items()}, Metrics(), lambda: None)
    return controls, PendingValues(controls, clock.now), clock


def test_a_requested_value_counts_before_the_stage_answers() -> None:
    controls, values, _ = made()
    assert values.set("steps", 99.0, "midi/a/cc 1")
    assert (values["steps"], controls.values["steps"]) == (8, 2)


def test_an_own_echo_does_not_replace_a_newer_request() -> None:
    _, values, _ = made()
    values.set("steps", 3, "midi/a/cc 1")
    values.set("steps", 4, "midi/a/cc 1")
    values.on_changes([Change("steps", 3, "midi/a/cc 1")])
    assert values["steps"] == 4


def test_a_change_from_elsewhere_drops_the_request() -> None:
    controls, values, _ = made()
    values.set("steps", 3, "midi/a/cc 1")
    controls.values["steps"] = 5
    values.on_changes([Change("steps", 5, "osc/b")])
    assert values["steps"] == 5


def test_a_request_without_an_echo_expires() -> None:
    _, values, clock = made()
    values.set("steps", 3, "midi/a/cc 1")
    clock.sleep(ECHO_TIMEOUT + 0.01)
    assert values["steps"] == 2
    values.set("steps", 3, "midi/a/cc 1")
    values.clear()
    assert values["steps"] == 2


def test_a_refused_value_is_not_pending() -> None:
    _, values, _ = made()
    assert not values.set("steps", "many", "midi/a/cc 1")
    assert not values.set("stairs", 1, "midi/a/cc 1")
    assert (values["steps"], values.parameter("stairs")) == (2, None)
