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
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    DistinctItems,
    Field,
    Fields,
    Items,
    Number,
    Section,
    Text,
    defaults,
)
from lcm_daemon.core.schema_shapes import Either

FORMATS: Mapping[str, range] = {  # of MIDI Show Control: names in a show, and the formats that each name means
    "any": range(0x80), "lighting": range(0x01, 0x10), "sound": range(0x10, 0x20), "machinery": range(0x20, 0x30),
    "video": range(0x30, 0x40), "projection": range(0x40, 0x50), "process": range(0x50, 0x60),
    "pyro": range(0x60, 0x70),
}

_NUMBER = Field(Number(1, MAX_NUMBER, whole=True), None, "which one, if there are several of the name; default: all")
_DEVICE: Fields = {
    "name": Field(Text(), help="name of the device, or a pattern such as nanoKONTROL*"),
    "number": _NUMBER,
    "map": Field(READY_MAP, None, "ready map for the device"),
}
_CLOCK: Fields = {"device": Field(Text(), help="name of the clock's device, or a pattern"), "number": _NUMBER}
_TIMECODE: Fields = {"device": Field(Text(), help="name of the device that sends MTC, or a pattern"), "number": _NUMBER}
_DEVICE_ID = Field(Number(0, 126, whole=True), None, "the number that messages have to be for; default: any")
MSC: Fields = {
    "device_id": _DEVICE_ID,
    "format": Field(Choice(tuple(FORMATS)), "any", "the kind of devices that messages have to be for"),
}
MMC: Fields = {"device_id": _DEVICE_ID}
_RECEIVER: Fields = {"name": Field(Text(), help="name of the receiver, or a pattern"), "number": _NUMBER}
_CLOCK_FORMS = "true, false, or a mapping such as {device: Drums}"
_CONTROL_FORMS = "true, false, or a mapping such as {device_id: 1}"


def _device(found: Mapping[str, Any]) -> str:
    """What an entry of `devices` names, for the line about one that is there twice."""
    number = f" with the number {found['number']}" if found["number"] else ""
    return f"the device {str(found['name']).lower()!r:.80}{number}"


def _switch_or(fields: Fields, forms: str) -> Custom:
    """true, false, or a mapping with these keys. forms: The same in words."""

    def read(node: Node, problems: Problems) -> Any:
        if isinstance(node.raw, yaml.MappingNode):
            return Section(fields).read(node, problems)
        if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
            return node.value
        problems.add(node, f"{node.value!r:.80} is not {forms}")
        return None

    return Custom(read, forms, Either((Boolean(), Section(fields))))


def settings_of(found: Any, fields: Fields) -> Mapping[str, Any] | None:
    """The keys of a mapping that a show may also write as true or false; None for false."""
    return defaults(fields) if found is True else found or None


FIELDS: Fields = {
    "devices": Field(DistinctItems(Section(_DEVICE), _device), (),
                     "devices by name pattern, with or without a ready map"),
    **MAP_FIELDS,
    "clock": Field(_switch_or(_CLOCK, _CLOCK_FORMS), False,
                   "follow MIDI clock, start and stop, of any device or of one"),
    "timecode": Field(_switch_or(_TIMECODE, _CLOCK_FORMS), False,
                      "follow MIDI timecode (MTC), of any device or of one: cues start at it"),
    "show_control": Field(_switch_or(MSC, _CONTROL_FORMS), False,
                          "let MIDI Show Control start, stop, resume and load cues"),
    "machine_control": Field(_switch_or(MMC, _CONTROL_FORMS), False,
                             "let play, stop, pause and record of MIDI Machine Control do the same"),
    "send_clock": Field(Items(Section(_RECEIVER)), (), "devices that receive MIDI clock at the show's tempo"),
    "report": REPORT,
    "backend": Field(Choice(tuple(BACKENDS)), "auto", "MIDI system; use jack on a machine without a sound card"),
}
