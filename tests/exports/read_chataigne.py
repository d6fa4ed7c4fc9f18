"""Reads the tree of an OSCQuery module in a Chataigne session, and sends a value to every address of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

READ_ONLY = 1


def module(data: bytes) -> dict[str, Any]:
    """The session's module."""
    (found,) = json.loads(data)["modules"]["items"]
    assert found["type"] == "OSCQuery"
    return dict(found)


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the module's values send: the middle of a range, the last of several choices."""
    return [(node["FULL_PATH"], _arguments(node)) for node in nodes(module(data)["treeData"])
            if node["ACCESS"] != READ_ONLY]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The addresses below a node of the tree."""
    if "TYPE" in node:
        yield node
    for child in node.get("CONTENTS", {}).values():
        yield from nodes(child)


def _arguments(node: dict[str, Any]) -> list[Any]:
    span = node.get("RANGE", [{}])[0]
    match node["TYPE"]:
        case "N":
            return []
        case "T":
            return [1]
        case "s":
            return [span["VALS"][-1] if "VALS" in span else "typed"]
    middle = (span["MIN"] + span["MAX"]) / 2
    return [round(middle) if node["TYPE"] == "i" else middle]
