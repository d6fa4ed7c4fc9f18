"""Commands: declared once, executed by the stage or by automation."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.audience.commands import AudienceCommands
from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Parameter, Refused
from lcm_daemon.core.requests import (
    COMMANDS,
    COMMANDS_KEPT,
    REQUESTS_KEPT,
    Change,
    Command,
    CommandRequest,
    RequestQueue,
    commands,
)
from lcm_daemon.stage.dispatch import Dispatch


def cases(method: Callable[..., Any]) -> set[str]:
    """The texts that the `match` of a method has cases for."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.MatchValue)]
    return {value.value for value in values if isinstance(value, ast.Constant)}


def stage_cases() -> set[str]:
    """The commands that the stage carries out itself."""
    return cases(Dispatch.execute) | cases(Dispatch._execute)


def test_every_command_has_exactly_one_handler_and_no_handler_lacks_a_command() -> None:
    handlers = (stage_cases(), cases(Automation.execute), cases(AudienceCommands.execute),
                ControlState({}, {}, Metrics(), lambda: None).own_commands)
    assert sorted(name for handler in handlers for name in handler) == sorted(COMMANDS)


def test_every_command_and_argument_explains_itself() -> None:
    for command in COMMANDS.values():
        assert command.help.endswith(".")
        assert all(argument.help.endswith(".") for argument in command.arguments)


OPTIONAL = Command("Help.", (Parameter("name", "text", "", "A name."), Parameter("fade", "float", 0.0, "s", 0.0, 9.0)),
                   optional=1)


@pytest.mark.parametrize(("given", "coerced"), [
    (["storm"], ("storm",)), (["storm", 5], ("storm", 5.0)), (["storm", 50, "surplus"], ("storm", 9.0)),
])
def test_optional_arguments_may_be_missing(given: list[object], coerced: tuple[object, ...]) -> None:
    assert OPTIONAL.coerce(given) == coerced


@pytest.mark.parametrize(("given", "reason"), [
    ([], "it takes <name> [<fade>]"), (["storm", "long"], "fade takes a number, not 'long'"),
])
def test_an_optional_argument_is_checked_and_a_required_one_is_required(given: list[object], reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        OPTIONAL.coerce(given)


@pytest.mark.parametrize(("size", "found"), [
    ((1024, 768), (1024, 768)), ((64, 64), (64, 64)), ((512.4, "768"), (512, 768)),
])
def test_a_size_within_the_limit_of_the_show(size: tuple[object, object], found: tuple[int, int]) -> None:
    assert commands(max_size=(1024, 768))["size"].coerce(size) == found


@pytest.mark.parametrize(("size", "reason"), [
    ((1032, 512), "width may be 64 to 1024 px in steps of 8, not 1032: the show's network.max_size sets the limit; "
     "the nearest possible is 1024 x 512"),
    ((512, 99999.0), "height may be 64 to 768 px in steps of 8, not 99999: "),
    ((512, 8), "height may be 64 to 768 px in steps of 8, not 8; the nearest possible is 512 x 64"),
    ((512, "big"), "height takes a number, not 'big'"),
])
def test_a_size_beyond_the_limit_of_the_show_is_refused_not_reduced(size: tuple[object, object], reason: str) -> None:
    with pytest.raises(Refused, match=re.escape(reason)):
        commands(max_size=(1024, 768))["size"].coerce(size)


@pytest.mark.parametrize(("size", "nearest"), [
    ((5000, 2000), "2048 x 2000"), ((500, 387), "504 x 384"), ((1, 512), "64 x 512"), ((512.4, 501.0), "512 x 504"),
])
def test_an_impossible_size_is_refused_and_the_nearest_is_named(size: tuple[float, float], nearest: str) -> None:
    with pytest.raises(Refused, match=re.escape(f"; the nearest possible is {nearest}")):
        COMMANDS["size"].coerce(size)


def test_of_too_many_commands_those_of_the_sender_with_most_are_dropped() -> None:
    queue = RequestQueue()
    for number in range(2 * COMMANDS_KEPT):
        queue.set(Change("strength", number, "osc/flood"))
        queue.add(CommandRequest("tap", "osc/flood"))
    queue.set(Change("seed", 5, "panel/1"))
    assert queue.add(CommandRequest("cue/go", "panel/1")), "another one was dropped for it"
    assert len(queue.commands) == COMMANDS_KEPT
    assert queue.commands[-1] == CommandRequest("cue/go", "panel/1")
    assert len(queue) <= REQUESTS_KEPT
    assert queue.changes["strength"].value == 2 * COMMANDS_KEPT - 1
    assert list(queue)[-2:] == [Change("seed", 5, "panel/1"), CommandRequest("cue/go", "panel/1")]
