"""Reads a Max patcher: follows what each control sends through the boxes, and moves and presses all of them."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from typing import Any

Box = dict[str, Any]


class Patcher:
    """The boxes by id, and where their outlets go."""

    def __init__(self, data: bytes) -> None:
        patcher = json.loads(data)["patcher"]
        self.boxes: dict[str, Box] = {each["box"]["id"]: each["box"] for each in patcher["boxes"]}
        self.lines: dict[tuple[str, int], list[str]] = defaultdict(list)
        for each in patcher["lines"]:
            (source, outlet), (target, inlet) = each["patchline"]["source"], each["patchline"]["destination"]
            assert outlet < self.boxes[source]["numoutlets"]
            assert inlet < self.boxes[target]["numinlets"]
            self.lines[source, outlet].append(target)

    def send(self, box: str, outlet: int, message: list[Any]) -> list[list[Any]]:
        """What arrives at udpsend, if a box sends a message out of an outlet."""
        arrived = []
        for target in self.lines[box, outlet]:
            arrived += self._receive(target, message)
        return arrived

    def _receive(self, box: str, message: list[Any]) -> list[list[Any]]:
        kind, words = self.boxes[box]["maxclass"], str(self.boxes[box].get("text", "")).split()
        if kind == "message":
            return self.send(box, 0, [_atom(word) for word in shlex.split(self.boxes[box]["text"])])
        if words[0] == "prepend":
            return self.send(box, 0, [words[1], *message])
        if words[0] == "route":
            return self.send(box, 0, message[1:]) if message[0] == words[1] else []
        return [message] if words[0] == "udpsend" else []


def _atom(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def addresses(data: bytes) -> list[tuple[str, list[Any]]]:
    """Every message that the patcher sends: dials at their middle, switches on, the last item of menus, texts typed."""
    patcher, sent = Patcher(data), []
    for key, box in patcher.boxes.items():
        for outlet, message in _outputs(box):
            sent += [(arrived[0], arrived[1:]) for arrived in patcher.send(key, outlet, message)]
    return sent


def _outputs(box: Box) -> list[tuple[int, list[Any]]]:
    """What a control sends when it is moved, by outlet."""
    value = box.get("saved_attribute_attributes", {}).get("valueof", {})
    match box["maxclass"]:
        case "live.dial":
            middle = (value["parameter_mmin"] + value["parameter_mmax"]) / 2
            return [(0, [round(middle) if value["parameter_type"] == 1 else middle])]
        case "live.toggle" | "number":
            return [(0, [1])]
        case "live.menu":
            last = value["parameter_enum"][-1]
            return [(0, [len(value["parameter_enum"]) - 1]), (1, [last])]
        case "umenu":
            return [(1, [box["items"][0]])]
        case "textedit":
            return [(0, ["text", "typed", "words"])]
        case "live.text":
            return [(0, ["bang"])]
    return [(0, ["bang"])] if str(box.get("text", "")).startswith("metro") else []
