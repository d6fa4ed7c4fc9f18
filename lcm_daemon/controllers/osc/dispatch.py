"""What an OSC message does to the board, whichever way it came: a parameter moves, a command is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Refused

ROOT = "/lcm/"


def move(controls: ControlState, name: str, arguments: Sequence[Any], origin: str) -> None:
    """Move a parameter to the first argument; a text takes several, with their weights. Raises Refused."""
    several = len(arguments) > 1 and controls.table[name].kind == "text"
    controls.set(name, blended(arguments) if several else arguments[0], origin)


def call(controls: ControlState, name: str, arguments: Sequence[Any], origin: str) -> None:
    """Give a command. One that takes nothing may come with a button's value: 0 or false is the button let go."""
    takes = bool(controls.commands[name].arguments)
    released = not takes and bool(arguments) and isinstance(arguments[0], int | float) and not arguments[0]
    if not released:
        controls.command(name, origin, arguments if takes else ())


def blended(arguments: Sequence[Any]) -> str:
    """`"ocean" 0.7 "lava" 0.3` as `ocean::0.7 lava::0.3`; a text without a number weighs 1. Raises Refused."""
    texts: list[tuple[str, float]] = []
    for argument in arguments:
        if isinstance(argument, str):
            texts.append((argument, 1.0))
        elif texts and isinstance(argument, int | float) and math.isfinite(argument):
            texts[-1] = texts[-1][0], float(argument)
        else:
            raise Refused(f"a prompt takes texts, each with its weight, not {argument!r:.80}")
    return " ".join(f"{text}::{weight:g}" for text, weight in texts)
