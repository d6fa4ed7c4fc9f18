"""What an OSC message asks of the control state: to set a parameter or to run a command."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.osc_names import LIVE_VALUES, STATUS
from lcm_daemon.core.parameters import Refused, Value, typed_number
from lcm_daemon.core.requests import Command


def set_parameter(controls: ControlState, name: str, arguments: Sequence[Any], origin: str) -> None:
    """Set a parameter to the first argument. A text parameter takes several, as `weighted_prompt` reads them.

    Any other parameter can also be moved from where it is: `"+" 0.1`, `"-" 0.1`, and a switch or a choice by `toggle`.

    Raises:
        Refused: The arguments are not texts and weights, or the amount of a move is missing.
    """
    parameter, first = controls.table[name], arguments[0]
    if parameter.kind == "text":
        controls.set(name, weighted_prompt(arguments) if len(arguments) > 1 else first, origin)
    elif first in ("+", "-"):
        if len(arguments) < 2:
            raise Refused(f"{name}: {first!r} takes the amount as a second argument")
        controls.command("adjust", origin, (name, _negative(arguments[1]) if first == "-" else arguments[1]))
    elif parameter.choices and len(arguments) > 1 and (words := _words(arguments)) in parameter.choices:
        controls.set(name, words, origin)
    elif first == "toggle" and first not in parameter.choices:
        if not controls.presses.is_repeat(origin, name, arguments):
            controls.command("toggle", origin, (name,))
    else:
        controls.set(name, first, origin)


def status_values(controls: ControlState) -> dict[str, Value]:
    """Every status entry, and every value in force, by its address."""
    live = {LIVE_VALUES + name: state.value for name, state in controls.parameter_states.items()
            if name in controls.table}
    return {**{STATUS + name: value for name, value in controls.status.items()}, **live}


def is_release(value: Any) -> bool:
    """Whether this is the value of a button that is released: 0 or false."""
    return isinstance(value, int | float) and not value


def is_question(arguments: Sequence[Any]) -> bool:
    """Whether a message to a parameter asks for its value: it has no arguments, or a question mark."""
    return not arguments or (len(arguments) == 1 and arguments[0] == "?")


def _words(arguments: Sequence[Any]) -> str:
    """The arguments as one text: Max and Pd send `2 bars` as a number and a text."""
    return " ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in arguments)


def _negative(amount: Any) -> Any:
    if isinstance(amount, str):
        bare = amount.strip()
        return bare[1:] if bare.startswith("-") else f"-{bare.removeprefix('+')}"
    return -amount if isinstance(amount, int | float) else amount


def run_command(controls: ControlState, name: str, arguments: Sequence[Any], origin: str) -> None:
    """Request a command.

    A command without required arguments may come with a button's value: 0 or false means that the button was
    released, and does nothing. A number from 1 to 100, both excluded, is the first optional argument, such as the
    seconds of a fade: a press is 1, or 100, 127 or 255, and a panic button that sends 127 must not start a slow fade.
    A held button may send the same again and again: that is one press (core/presses.py).
    """
    command, given = controls.commands[name], arguments
    if not command.required:
        if arguments and is_release(arguments[0]):
            controls.presses.release(origin, name)
            return
        if not (command.optional and arguments and _is_optional(command, arguments[0])):
            arguments = ()
    if name == "adjust" or not controls.presses.is_repeat(origin, name, given):
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
        return math.isfinite(typed_number(text))
    except ValueError:
        return False


def _is_optional(command: Command, value: Any) -> bool:
    """Whether this is the command's first optional argument, not what a button sends when it is pressed."""
    if command.arguments[0].kind == "choice":
        return value in command.arguments[0].choices
    return _is_between_presses(value)


def _is_between_presses(value: Any) -> bool:
    """Whether no button sends this number when pressed. `lcm-daemon send` and some clients send it as text."""
    try:
        return not isinstance(value, bool) and 1.0 < float(value) < 100.0
    except (TypeError, ValueError, OverflowError):
        return False


def weighted_prompt(arguments: Sequence[Any]) -> str:
    """Convert the arguments `"deep" "ocean" 0.7 "lava" 0.3` to `deep ocean::0.7 lava::0.3`.

    Texts without a number between them are the words of one text, as Max and Pd send it. Without any number, the
    arguments are one text without a weight.

    Raises:
        Refused: A number is not finite, or does not follow a text; or an argument is neither text nor number.
    """
    texts: list[tuple[str, float | None]] = []
    for argument in arguments:
        if isinstance(argument, str):
            if texts and texts[-1][1] is None:
                argument = f"{texts.pop()[0]} {argument}"
            texts.append((argument, None))
        elif texts and isinstance(argument, int | float) and math.isfinite(argument):
            texts[-1] = texts[-1][0], float(argument)
        else:
            raise Refused(f"a prompt takes texts, each with an optional weight; {argument!r:.80} is neither")
    if all(weight is None for _, weight in texts):
        return " ".join(text for text, _ in texts)
    return " ".join(f"{text}::{1.0 if weight is None else weight:g}" for text, weight in texts)
