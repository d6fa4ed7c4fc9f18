"""The keys of `midi:` in a show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from lcm_daemon.controllers.base import REPORT
from lcm_daemon.controllers.midi.mapping import MAP_FIELDS, READY_MAP
from lcm_daemon.controllers.midi.port_names import MAX_NUMBER
from lcm_daemon.controllers.midi.ports import BACKENDS
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Boolean, Choice, Custom, DistinctItems, Field, Fields, Items, Number, Section, Text
from lcm_daemon.core.schema_shapes import Either

_NUMBER = Field(Number(1, MAX_NUMBER, whole=True), None, "which one, if there are several of the name; default: all")
_DEVICE: Fields = {
    "name": Field(Text(), help="name of the device, or a pattern such as nanoKONTROL*"),
    "number": _NUMBER,
    "map": Field(READY_MAP, None, "ready map for the device"),
}
_CLOCK: Fields = {"device": Field(Text(), help="name of the clock's device, or a pattern"), "number": _NUMBER}
_RECEIVER: Fields = {"name": Field(Text(), help="name of the receiver, or a pattern"), "number": _NUMBER}
_CLOCK_FORMS = "true, false, or a mapping such as {device: Drums}"


def _device(found: Mapping[str, Any]) -> str:
    """What an entry of `devices` names, for the line about one that is there twice."""
    number = f" with the number {found['number']}" if found["number"] else ""
    return f"the device {str(found['name']).lower()!r:.80}{number}"


def _read_clock(node: Node, problems: Problems) -> Any:
    if isinstance(node.raw, yaml.MappingNode):
        return Section(_CLOCK).read(node, problems)
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
        return node.value
    problems.add(node, f"{node.value!r:.80} is not {_CLOCK_FORMS}")
    return None


FIELDS: Fields = {
    "devices": Field(DistinctItems(Section(_DEVICE), _device), (),
                     "devices by name pattern, with or without a ready map"),
    **MAP_FIELDS,
    "clock": Field(Custom(_read_clock, _CLOCK_FORMS, Either((Boolean(), Section(_CLOCK)))), False,
                   "follow MIDI clock, start and stop, of any device or of one"),
    "send_clock": Field(Items(Section(_RECEIVER)), (), "devices that receive MIDI clock at the show's tempo"),
    "report": REPORT,
    "backend": Field(Choice(tuple(BACKENDS)), "auto", "MIDI system; use jack on a machine without a sound card"),
}
