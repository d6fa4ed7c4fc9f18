"""What a message asks of the control state."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lcm_daemon.controllers.osc_protocol.dispatch import run_command
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.requests import Command

SECONDS = Parameter("seconds", "float", 0.0, "Seconds.", 0.0, 3600.0)
COMMANDS = {"panic": Command("Reset.", (SECONDS,), optional=1), "tap": Command("Tap."),
            "goto": Command("Go.", (Parameter("name", "text", "", "A name."), SECONDS), optional=1)}


def given(name: str, arguments: list[Any]) -> list[tuple[str, tuple[object, ...]]]:
    controls = ControlState(TABLE, {}, Metrics(), lambda: None, COMMANDS)
    run_command(controls, name, arguments, "osc/test")
    return [(command.name, command.arguments) for command in controls.pop_requests().commands]


@pytest.mark.parametrize("arguments", [[], [1], [1.0], [True], [0.4], [None], ["bang"], [math.inf], [math.nan], [-1]])
def test_a_button_gives_the_command_without_optional_arguments(arguments: list[Any]) -> None:
    assert given("panic", arguments) == [("panic", ())]
    assert given("tap", arguments) == [("tap", ())]


@pytest.mark.parametrize("arguments", [[0], [0.0], [False]])
def test_a_released_button_does_nothing(arguments: list[Any]) -> None:
    assert given("panic", arguments) == given("tap", arguments) == []


@pytest.mark.parametrize("arguments", [[3], [3.0], ["3"], [3, "surplus"]])
def test_a_number_above_one_is_the_optional_argument(arguments: list[Any]) -> None:
    assert given("panic", arguments) == [("panic", (3.0,))]
    assert given("tap", arguments) == [("tap", ())]


def test_a_command_with_a_required_argument_takes_every_number() -> None:
    assert given("goto", [1.0, 0.5]) == [("goto", ("1.0", 0.5))]
    assert given("goto", [0]) == [("goto", ("0",))]
    assert given("goto", []) == []
