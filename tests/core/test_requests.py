"""Commands: declared once, executed by the stage or by automation."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.requests import COMMANDS
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
