"""A Max patcher as JSON: boxes, and the lines between them.

Classes, attributes and numbers of outlets are those that Max 8 writes; see https://docs.cycling74.com/reference.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, NamedTuple

HEAD = {"fileversion": 1, "appversion": {"major": 8, "minor": 5, "revision": 0, "architecture": "x64", "modernui": 1},
        "classnamespace": "box", "openinpresentation": 1, "default_fontsize": 10.0}
# Of each class: inlets, and the types of its outlets.
_PORTS: dict[str, tuple[int, list[str]]] = {
    "live.dial": (1, ["", "float"]), "live.menu": (1, ["", "", "float"]), "live.toggle": (1, [""]),
    "live.text": (1, ["", ""]), "number": (1, ["", "bang"]), "flonum": (1, ["", "bang"]), "message": (2, [""]),
    "textedit": (1, ["", "int", "", ""]), "umenu": (1, ["int", "", ""]), "comment": (1, []),
}
_OBJECTS: dict[str, tuple[int, list[str]]] = {  # of class newobj, by the first word of their text
    "udpsend": (1, []), "udpreceive": (1, [""]), "prepend": (1, [""]), "route": (1, ["", ""]), "metro": (2, ["bang"]),
    "live.thisdevice": (1, ["bang", "int", "int"]), "midiin": (1, ["int"]), "midiout": (1, []),
}


class Place(NamedTuple):
    """Where a box is: x, y, width and height in points."""

    x: float
    y: float
    w: float
    h: float


class Patch:
    """The boxes and lines of a patcher."""

    def __init__(self) -> None:
        self._boxes: list[dict[str, Any]] = []
        self._lines: list[dict[str, Any]] = []

    def add(self, kind: str, at: Place, shown: Place | None = None, **attributes: Any) -> str:
        """Add a box of a class, and where it is in the presentation if it is shown there. Returns its id."""
        inlets, outlets = _PORTS[kind]
        return self._add(kind, inlets, outlets, at, shown, attributes)

    def object(self, text: str, at: Place) -> str:
        """Add an object box, such as "prepend /lcm/strength". Returns its id."""
        inlets, outlets = _OBJECTS[text.split()[0]]
        return self._add("newobj", inlets, outlets, at, None, {"text": text})

    def _add(
        self, kind: str, inlets: int, outlets: list[str], at: Place, shown: Place | None, attributes: dict[str, Any],
    ) -> str:
        box: dict[str, Any] = {"id": f"obj-{len(self._boxes) + 1}", "maxclass": kind, "numinlets": inlets,
                               "numoutlets": len(outlets), "patching_rect": list(at), **attributes}
        if outlets:
            box["outlettype"] = outlets
        if shown:
            box.update({"presentation": 1, "presentation_rect": list(shown)})
        self._boxes.append({"box": box})
        return str(box["id"])

    def connect(self, *ids: str, outlet: int = 0) -> None:
        """Connect boxes in a row, each to the next one's first inlet. outlet: of the first one."""
        for place, (source, target) in enumerate(pairwise(ids)):
            line = {"source": [source, 0 if place else outlet], "destination": [target, 0]}
            self._lines.append({"patchline": line})

    def shown_width(self) -> float:
        """The width of the presentation, in points."""
        shown = (each["box"]["presentation_rect"] for each in self._boxes if "presentation_rect" in each["box"])
        return max((x + width for x, _, width, _ in shown), default=0.0)

    def to_json(self, **attributes: Any) -> bytes:
        """The file. attributes: Further ones of the patcher."""
        rect = [60.0, 100.0, 1200.0, 720.0]
        patcher = {**HEAD, **attributes, "rect": rect, "boxes": self._boxes, "lines": self._lines}
        return json.dumps({"patcher": patcher}, ensure_ascii=False, separators=(",", ":")).encode()


def live_parameter(
    name: str, kind: int, low: float = 0.0, high: float = 1.0, start: float | None = None,
    choices: tuple[str, ...] = (), exponent: float = 1.0,
) -> dict[str, Any]:
    """The attributes of a Live parameter: what Live automates, maps and saves.

    Args:
        name: Its name, one of a kind in the patcher.
        kind: 0 float, 1 int (up to 256 values), 2 one of `choices`.
        low: Lowest value.
        high: Highest value.
        start: Value at the start; None leaves it to Live.
        choices: Names of the values.
        exponent: Above 1, the low end is finer.
    """
    value: dict[str, Any] = {
        "parameter_longname": name, "parameter_shortname": name.rpartition("/")[2], "parameter_linknames": 1,
        "parameter_type": kind, "parameter_unitstyle": 0 if kind else 1}
    if choices:
        value["parameter_enum"] = list(choices)
    value["parameter_mmax"] = len(choices) - 1 if choices else high
    value["parameter_mmin"] = 0 if choices else low
    if exponent != 1.0:
        value["parameter_exponent"] = exponent
    if start is not None:
        value.update({"parameter_initial": [start], "parameter_initial_enable": 1})
    return {"parameter_enable": 1, "varname": name, "saved_attribute_attributes": {"valueof": value}}
