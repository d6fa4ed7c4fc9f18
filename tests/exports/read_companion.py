"""Reads a Companion export as Companion and its module generic-osc 2.8 do, and presses every button."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# What the module's action `send_multiple` takes: numbers, texts in quotes in which a backslash protects, words.
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_QUOTED = re.compile(r'"(?P<text>(\\.|[^\\"])+)"')
_WORD = re.compile(r"[^ ]+")
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
    rest = typed.translate(_QUOTES).lstrip()
    while rest:
        number, quoted = _NUMBER.match(rest), _QUOTED.match(rest)
        taken = number or quoted or _WORD.match(rest)
        assert taken
        if number:
            found.append(float(number[0]) if number[1] else int(number[0]))
        else:
            found.append(quoted["text"].replace('\\"', '"') if quoted else taken[0])
        rest = rest[taken.end():].lstrip()
    return found
