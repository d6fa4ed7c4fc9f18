"""What a message asks of the control state."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lcm_daemon.controllers.osc_protocol.dispatch import is_question, run_command, set_parameter
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Refused
from lcm_daemon.core.requests import Command

SECONDS = Parameter("seconds", "float", 0.0, "Seconds.", 0.0, 3600.0)
COMMANDS = {"panic": Command("Reset.", (SECONDS,), optional=1), "tap": Command("Tap."),
            "goto": Command("Go.", (Parameter("name", "text", "", "A name."), SECONDS), optional=1)}


def given(name: str, arguments: list[Any]) -> list[tuple[str, tuple[object, ...]]]:
    controls = ControlState(TABLE, {}, Metrics(), lambda: None, COMMANDS)
    run_command(controls, name, arguments, "osc/test")
    return [(command.name, command.arguments) for command in controls.pop_requests().commands]


@pytest.mark.parametrize("arguments", [[], [1], [1.0], [True], [0.4], [None], ["bang"], [math.inf], [math.nan], [-1],
                                       [100], [127], [127.0], [255]])
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


@pytest.mark.parametrize(("arguments", "expected"), [
    (["Act", "One"], ("Act One",)), (["Act", "One", 5.0], ("Act One", 5.0)), (["Act", "One", "5"], ("Act One", 5.0)),
    (["storm", 5], ("storm", 5.0)), (["storm", "5"], ("storm", 5.0)), (["Act", "2", "b"], ("Act 2 b",)),
])
def test_words_of_the_last_text_are_joined(arguments: list[Any], expected: tuple[object, ...]) -> None:
    assert given("goto", arguments) == [("goto", expected)]


def test_only_the_last_text_is_joined() -> None:
    assert given_next(["prompt", "deep", "blue"]) == [("next", ("prompt", "deep blue"))]
    assert given_next(["strength", 0.5]) == [("next", ("strength", "0.5"))]


def given_next(arguments: list[Any]) -> list[tuple[str, tuple[object, ...]]]:
    controls = ControlState(TABLE, {}, Metrics(), lambda: None)
    run_command(controls, "next", arguments, "osc/test")
    return [(command.name, command.arguments) for command in controls.pop_requests().commands]


@pytest.mark.parametrize(("name", "arguments", "command"), [
    ("strength", ["+", 0.1], ("adjust", ("strength", 0.1))),
    ("strength", ["-", 0.1], ("adjust", ("strength", -0.1))),
    ("strength", ["-", "10%"], ("adjust", ("strength", -0.1))),
    ("strength", ["-", "-0.1"], ("adjust", ("strength", 0.1))),
    ("strength", ["-", "+0,1"], ("adjust", ("strength", -0.1))),
    ("steps", ["+", 1], ("adjust", ("steps", 1.0))),
    ("mode", ["+", 1], ("adjust", ("mode", 1.0))),
    ("freeze", ["toggle"], ("toggle", ("freeze",))),
    ("mode", ["toggle"], ("toggle", ("mode",))),
])
def test_relative_moves(name: str, arguments: list[Any], command: tuple[str, tuple[object, ...]]) -> None:
    controls = ControlState(TABLE, {}, Metrics(), lambda: None)
    for hand in range(3):
        set_parameter(controls, name, arguments, f"osc/{hand}")
    requests = controls.pop_requests()
    assert [(each.name, each.arguments) for each in requests.commands] == [command] * 3, "each of them counts"
    assert not requests.changes


@pytest.mark.parametrize(("arguments", "value"), [
    ([2, "bars"], "2 bars"), ([4.0, "bars"], "4 bars"), (["2", "bars"], "2 bars"), (["bar"], "bar"), ([1], "bar"),
    (["bar", 1], "bar"),
])
def test_the_words_of_a_choice_are_joined(arguments: list[Any], value: str) -> None:
    quantise = Parameter("quantise", "choice", "off", "When.", choices=("off", "bar", "beat", "2 bars", "4 bars"))
    controls = ControlState({"quantise": quantise}, {}, Metrics(), lambda: None)
    set_parameter(controls, "quantise", arguments, "osc/test")
    assert controls.pop_requests().changes["quantise"].value == value


@pytest.mark.parametrize("amount", ["-10%", "-0,1", "-0.1"])
def test_an_amount_as_people_type_it(amount: str) -> None:
    controls = ControlState(TABLE, {}, Metrics(), lambda: None)
    run_command(controls, "adjust", ["strength", amount], "osc/test")
    assert controls.pop_requests().commands[0].arguments == ("strength", -0.1)


def test_a_move_without_an_amount() -> None:
    controls = ControlState(TABLE, {}, Metrics(), lambda: None)
    with pytest.raises(Refused, match="'\\+' takes the amount as a second argument"):
        set_parameter(controls, "strength", ["+"], "osc/test")
    set_parameter(controls, "strength", ["-", "much"], "osc/test")
    set_parameter(controls, "prompt", ["+"], "osc/test")
    requests = controls.pop_requests()
    assert requests.commands == []
    assert requests.changes["prompt"].value == "+", "a text is not moved"


@pytest.mark.parametrize(("arguments", "asks"), [
    ([], True), (["?"], True), (["?", 1], False), ([0], False), (["x"], False),
])
def test_questions(arguments: list[Any], asks: bool) -> None:
    assert is_question(arguments) is asks
