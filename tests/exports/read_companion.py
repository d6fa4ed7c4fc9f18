"""Reads a Companion export as Companion and its module generic-osc 2.8 do, and presses every button."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# The module's own expression, `send_multiple` of osc.js: numbers, true and false, quoted texts, words.
_TOKEN = re.compile(r"""(-?\d+(?:\.\d+)?)|true|false|"((?:[^"\\]|\\.)+)"|'((?:[^'\\]|\\.)+)'|\S+""")
_QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f", '"'))


def buttons(data: bytes) -> Iterator[dict[str, Any]]:
    """Every button with actions of an export."""
    export = json.loads(data)
    assert (export["version"], export["type"]) == (6, "full")
    for page in export["pages"].values():
        for row in page["controls"].values():
            yield from (control for control in row.values() if control["type"] == "button")


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that a press sends, and those of the triggers."""
    pressed = [action for button in buttons(data) for action in button["steps"]["0"]["action_sets"]["down"]]
    triggered = [action for trigger in json.loads(data)["triggers"].values() for action in trigger["action_sets"]["0"]]
    return [(action["options"]["path"], arguments(action["options"]["arguments"])) for action in (*pressed, *triggered)]


def arguments(typed: str) -> list[Any]:
    """The arguments of a message, as the module reads them."""
    found: list[Any] = []
    for match in _TOKEN.finditer(typed.translate(_QUOTES)):
        number, double, single = match.groups()
        if number is not None:
            found.append(float(number) if "." in number else int(number))
        elif double is not None:
            found.append(double.replace('\\"', '"'))
        else:
            found.append(single if single is not None else match[0])
    return found
