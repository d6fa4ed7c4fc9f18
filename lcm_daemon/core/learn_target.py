"""What a control can be bound to: a parameter, or a command with the argument that it always gets."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lcm_daemon.core.bindings import Line
from lcm_daemon.core.parameters import Refused, Table, Value
from lcm_daemon.core.requests import Commands


class TargetNames(Protocol):
    """Where targets are looked up: the control state of a show."""

    table: Table
    commands: Commands

    @property
    def own_commands(self) -> Container[str]:
        """Commands that no control can have."""

    def refusal(self, name: str, arguments: Sequence[Any] = ()) -> str:
        """Why a command would be refused; "" if it would not."""


@dataclass(frozen=True)
class Target:
    """A parameter or a command.

    Attributes:
        name: As people write it: `strength`, `cue/goto Act One`.
        word: Name of the parameter or command alone.
        is_command: Whether it is a command.
        arguments: The arguments that the command always gets.
    """

    name: str
    word: str
    is_command: bool = False
    arguments: tuple[Value, ...] = ()

    def keys(self, command_key: str) -> dict[str, Any]:
        """The keys of a line that name it. command_key: the key that names a command."""
        key = command_key if self.is_command else "to"
        return {key: self.word, **({"with": list(self.arguments)} if self.arguments else {})}


def read_target(text: str, controls: TargetNames) -> Target:
    """Read a target. Raises Refused if there is none of this name, or if no control can have it."""
    parameter = controls.table.get(text)
    if parameter is not None:
        if parameter.kind == "text":
            raise Refused(f"learn: {text} is text, which no fader can set")
        return Target(text, text)
    word, _, rest = text.strip().partition(" ")
    command = controls.commands.get(word)
    if command is None:
        raise Refused(f"learn: no parameter and no command {text!r:.80}")
    if word in controls.own_commands:
        raise Refused(f"learn: {word} cannot be learned")
    given = [rest.strip()] if rest.strip() and command.arguments else []
    if len(command.required) > 1:
        raise Refused(f"learn: {word} takes {command.usage}, and a button can have one argument")
    if reason := controls.refusal(word, given):
        raise Refused(f"learn: {reason}")
    arguments = command.coerce(given)
    return Target(_joined(word, arguments), word, True, arguments)


def target_name(line: Line, parameters: Container[str]) -> str:
    """The target of a line of a map as people write it, such as `strength`, `cue/goto Act One` or `bank next`.

    Args:
        line: The line.
        parameters: Names of the parameters.
    """
    word = line.get("command") or line.get("to")
    if not word:
        return f"bank {line.get('bank')}"
    if word in parameters:
        return str(word)
    added = [line["value"]] if "value" in line else []
    return _joined(str(word), (*(line.get("with") or ()), *added))


def _joined(word: str, arguments: tuple[Value, ...]) -> str:
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in arguments]
    return " ".join((word, *texts))
