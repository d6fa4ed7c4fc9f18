"""Reads a TouchOSC layout with py2tosc, and moves and presses every control."""

from __future__ import annotations

import zlib
from typing import Any

import py2tosc


def layout(data: bytes) -> py2tosc.Document:
    """The layout of a `.tosc` file."""
    return py2tosc.loads(zlib.decompress(data))


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the layout sends: faders at their middle, switches on, buttons pressed."""
    sent = []
    for control in layout(data).root.walk():
        for message in control.messages:
            if isinstance(message, py2tosc.OscMessage) and message.send:
                arguments = [_argument(part) for part in message.arguments]
                sent.append(("".join(part.value for part in message.path), arguments))
    return sent


def _argument(part: py2tosc.Partial) -> Any:
    """What an argument is: a constant, or the control's x scaled to the range. x is 1 of a switch, .5 of a fader."""
    conversion = str(part.conversion)
    if str(part.type) == "CONSTANT":
        return {"STRING": str, "INTEGER": int, "FLOAT": float}[conversion](part.value)
    value = part.scale_min + (part.scale_max - part.scale_min) * 0.5
    return round(value + 0.1) if conversion == "INTEGER" else value
