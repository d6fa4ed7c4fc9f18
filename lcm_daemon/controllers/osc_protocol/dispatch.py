"""What an OSC message asks of the control state: to set a parameter or to run a command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Refused

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

    A command without arguments may come with a button's value: 0 or false means that the button was released, and
    does nothing.
    """
    takes_arguments = bool(controls.commands[name].arguments)
    if not takes_arguments and arguments and isinstance(arguments[0], int | float) and not arguments[0]:
        return
    controls.command(name, origin, arguments if takes_arguments else ())


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
