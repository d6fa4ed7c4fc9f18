"""Commands: declared once, executed by the stage or by automation."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.parameters import Parameter, Refused
from lcm_daemon.core.requests import COMMANDS, Command
from lcm_daemon.stage.dispatch import Dispatch


def cases(method: Callable[..., Any]) -> set[str]:
    """The texts that the `match` of a method has cases for."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.MatchValue)]
    return {value.value for value in values if isinstance(value, ast.Constant)}


def test_every_command_has_exactly_one_handler_and_no_handler_lacks_a_command() -> None:
    stage, automation = cases(Dispatch.execute), cases(Automation.execute)
    assert stage | automation == set(COMMANDS)
    assert not stage & automation


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
