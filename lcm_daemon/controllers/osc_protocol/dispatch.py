"""What an OSC message asks of the control state: to set a parameter or to run a command."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.requests import Command

ROOT = "/lcm/"


def set_parameter(controls: ControlState, name: str, arguments: Sequence[Any], origin: str) -> None:
    """Set a parameter to the first argument. A text parameter takes several, as `weighted_prompt` reads them.

    Raises:
        Refused: The arguments are not texts and weights.
    """
    several = len(arguments) > 1 and controls.table[name].kind == "text"
    controls.set(name, weighted_prompt(arguments) if several else arguments[0], origin)


def run_command(controls: ControlState, name: str, arguments: Sequence[Any], origin: str) -> None:
    """Request a command.

    A command without required arguments may come with a button's value: 0 or false means that the button was
    released, and does nothing. A number above 1 is the first optional argument, such as the seconds of a fade.
    """
    command = controls.commands[name]
    if not command.required:
        if arguments and isinstance(arguments[0], int | float) and not arguments[0]:
            return
        if not (command.optional and arguments and _is_above_one(arguments[0])):
            arguments = ()
    controls.command(name, origin, _joined(command, arguments))


def _joined(command: Command, arguments: Sequence[Any]) -> Sequence[Any]:
    """Join the words of the last text that a command takes: Max and Pd send `cue/goto Act One` as two texts."""
    place = max((place for place, each in enumerate(command.arguments) if each.kind == "text"), default=-1)
    if place < 0 or len(arguments) <= place + 1:
        return arguments
    words = list(itertools.takewhile(lambda word: isinstance(word, str), arguments[place:]))
    if len(command.arguments) > place + 1 and len(words) > 1 and _is_number(words[-1]):
        words.pop()  # a number that was sent as text
    if len(words) < 2:
        return arguments
    return [*arguments[:place], " ".join(words), *arguments[place + len(words):]]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_above_one(value: Any) -> bool:
    """Whether this is a finite number that no button sends. `lcm-daemon send` and some clients send it as text."""
    try:
        return not isinstance(value, bool) and 1.0 < float(value) < math.inf
    except (TypeError, ValueError, OverflowError):
        return False


def weighted_prompt(arguments: Sequence[Any]) -> str:
    """Convert the arguments `"ocean" 0.7 "lava" 0.3` to `ocean::0.7 lava::0.3`. The default weight is 1.

    Raises:
        Refused: The arguments are not texts, each followed by at most one finite number.
    """
    texts: list[tuple[str, float]] = []
    for argument in arguments:
        if isinstance(argument, str):
            texts.append((argument, 1.0))
        elif texts and isinstance(argument, int | float) and math.isfinite(argument):
            texts[-1] = texts[-1][0], float(argument)
        else:
            raise Refused(f"a prompt takes texts, each with an optional weight; {argument!r:.80} is neither")
    return " ".join(f"{text}::{weight:g}" for text, weight in texts)
