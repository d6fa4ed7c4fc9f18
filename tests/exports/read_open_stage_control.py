"""Reads an Open Stage Control session as its client does, and moves and presses every widget.

After the client's source, version 1.30: a property that is JSON is read as such, `preArgs` come first, a `momentary`
button has no value, and one letter of `typeTags` is for each argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Widget = dict[str, Any]


def widgets(data: bytes) -> Iterator[Widget]:
    """Every widget of a session, from its root."""
    session = json.loads(data)
    assert session["type"] == "session"
    yield from _walk(session["content"])


def _walk(widget: Widget) -> Iterator[Widget]:
    yield widget
    for child in (*widget.get("widgets", ()), *widget.get("tabs", ())):
        yield from _walk(child)


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the session sends: faders at their middle, switches on, buttons pressed, texts typed."""
    return [(widget["address"], _arguments(widget)) for widget in widgets(data)
            if "address" in widget and not widget.get("bypass")]


def _arguments(widget: Widget) -> list[Any]:
    before = [resolved(each) for each in widget.get("preArgs", [])]
    arguments = before if widget.get("mode") == "momentary" else [*before, _value(widget)]
    tags = widget["typeTags"].ljust(len(arguments), widget["typeTags"][-1:])
    return [_typed(argument, tag) for argument, tag in zip(arguments, tags, strict=True)]


def resolved(value: Any) -> Any:
    """A property as the client reads it: a text that is JSON is what it says."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _value(widget: Widget) -> Any:
    match widget["type"]:
        case "fader":
            return (widget["range"]["min"] + widget["range"]["max"]) / 2
        case "button":
            return widget["on"]
        case "switch" | "dropdown":
            return widget["values"][-1]
        case "input":
            return 1 if widget.get("numeric") else "typed"
    raise AssertionError(f"a {widget['type']} sends nothing")


def _typed(argument: Any, tag: str) -> Any:
    return {"i": int, "f": float, "s": str}[tag](argument)
