"""Messages that a cue sends when it starts: OSC and MIDI, to the destinations that the show file names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.schema import Custom, Field, Fields, Items, Number, Section, Text

MAX_MESSAGES = 64  # of one cue
MAX_TEXT = 1000  # characters of an address or an argument
MAX_BYTES = 1024  # of a MIDI message

_ADDRESS = re.compile(r"(/[!\"$%&'()+\-.0-9:;<=>@A-Z\\^_`a-z|~]+)+")  # printable ASCII without wildcards and space
_DESTINATION = re.compile(r"(?:\[(?P<ipv6>[\w:.%]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class OscMessageOut:
    """An OSC message to one destination.

    Attributes:
        address: its OSC address.
        arguments: its arguments.
        host: name or address of the receiver.
        port: its UDP port.
    """

    address: str
    arguments: tuple[Value, ...]
    host: str
    port: int

    @property
    def destination(self) -> tuple[str, ...]:
        """What must be written in the show file."""
        return "osc", self.host, str(self.port)

    def as_mapping(self) -> dict[str, Any]:
        """The message as the show file has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {"osc": self.address, "args": list(self.arguments), "to": f"{host}:{self.port}"}


@dataclass(frozen=True)
class MidiMessageOut:
    """A MIDI message to one output port.

    Attributes:
        data: its bytes.
        port: name pattern of the port.
    """

    data: bytes
    port: str

    @property
    def destination(self) -> tuple[str, ...]:
        """What must be written in the show file."""
        return "midi", self.port

    def as_mapping(self) -> dict[str, Any]:
        """The message as the show file may have it."""
        return {"midi": {"bytes": list(self.data)}, "to": self.port}


CueMessage = OscMessageOut | MidiMessageOut


def _read_argument(node: Node, problems: Problems) -> Value | None:
    value = node.value if isinstance(node.raw, yaml.ScalarNode) else None
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        if not isinstance(value, str) and isinstance(value, int) and not -(2**63) <= value < 2**63:
            problems.add(node, f"{value} is not an argument: OSC has whole numbers of 64 bits")
            return None
        return value[:MAX_TEXT] if isinstance(value, str) else value
    problems.add(node, "an argument is a number, a text, true or false; put other values in quotes")
    return None


def _read_osc_address(node: Node, problems: Problems) -> str | None:
    text = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    if len(text) <= MAX_TEXT and _ADDRESS.fullmatch(text):
        return text
    problems.add(node, f"{text!r:.80} is not an OSC address, such as /light/go: it begins with / and has no spaces and "
                 "none of * ? # , [ ] { }")
    return None


def read_destination(node: Node, problems: Problems) -> tuple[str, int] | None:
    """Host and port of "192.168.1.20:8000", "lights.local:8000" or "[fe80::1]:8000"; None for a mistake."""
    text = str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""
    found = _DESTINATION.fullmatch(text)
    port = int(found["port"]) if found else 0
    if found and 0 < port < 65536:
        return found["host"] or found["ipv6"], port
    problems.add(node, f"{text!r:.80} is not a destination, such as 192.168.1.20:8000")
    return None


def _read_bytes(node: Node, problems: Problems) -> bytes | None:
    """Read the bytes of one whole MIDI message."""
    read = Items(Number(0, 255, whole=True)).read(node, problems)
    if read is None or None in read:
        return None
    data = bytes(read)
    if len(data) > MAX_BYTES or not _is_message(data):
        problems.add(node, "these bytes are not one MIDI message: a status byte from 0x80 and its data bytes below "
                     "0x80 are wanted, such as [0x90, 60, 127], or [0xF0, ..., 0xF7]")
        return None
    return data


_LENGTHS: Mapping[int, int] = {0x80: 3, 0x90: 3, 0xA0: 3, 0xB0: 3, 0xC0: 2, 0xD0: 2, 0xE0: 3}
_SYSTEM_LENGTHS: Mapping[int, int] = {0xF1: 2, 0xF2: 3, 0xF3: 2, **dict.fromkeys((0xF6, 0xF8, 0xFA, 0xFB, 0xFC, 0xFE,
                                                                                    0xFF), 1)}


def _is_message(data: bytes) -> bool:
    if not data or any(byte > 127 for byte in data[1:-1]):
        return False
    if data[0] == 0xF0:
        return len(data) > 2 and data[-1] == 0xF7
    length = _SYSTEM_LENGTHS.get(data[0]) if data[0] >= 0xF0 else _LENGTHS.get(data[0] & 0xF0)
    return len(data) == length and (length == 1 or data[-1] < 128)


_SEVEN_BITS = Number(0, 127, whole=True)
_MIDI: Fields = {
    "note": Field(_SEVEN_BITS, None, "a key; value is its velocity, and 0 releases it"),
    "cc": Field(_SEVEN_BITS, None, "a controller"),
    "program": Field(_SEVEN_BITS, None, "a program, counted from 0"),
    "pitchbend": Field(Number(-8192, 8191, whole=True), None, "a position of the wheel"),
    "bytes": Field(Custom(_read_bytes, "a list of bytes"), None, "any message, such as MIDI Show Control"),
    "value": Field(_SEVEN_BITS, 127, "of a note or a controller"),
    "channel": Field(Number(1, 16, whole=True), 1, "from 1"),
}
_KINDS = ("note", "cc", "program", "pitchbend", "bytes")
_MESSAGE: Fields = {
    "osc": Field(Custom(_read_osc_address, "an OSC address"), None, "an OSC address"),
    "args": Field(Items(Custom(_read_argument, "a number, text, true or false")), (), "its arguments"),
    "midi": Field(Section(_MIDI), None, f"a MIDI message: one of {', '.join(_KINDS)}"),
    "to": Field(Text(), help="host:port for OSC; the name of an output port for MIDI, where * is any text"),
}


def _read_message(node: Node, problems: Problems) -> CueMessage | None:
    before = len(problems)
    found = Section(_MESSAGE).read(node, problems)
    if found is None or len(problems) > before:
        return None
    if (found["osc"] is None) == (found["midi"] is None):
        problems.add(node, "a message needs exactly one of osc, midi")
        return None
    if found["osc"] is not None:
        to = next(value for key, value in node.items() if key.raw.value == "to")
        destination = read_destination(to, problems)
        return destination and OscMessageOut(found["osc"], found["args"], *destination)
    if found["args"]:
        problems.add(node, "args belong to osc; a MIDI message has value")
        return None
    kinds = [kind for kind in _KINDS if found["midi"][kind] is not None]
    if len(kinds) != 1:
        problems.add(node, f"midi needs exactly one of {', '.join(_KINDS)}; it has {' and '.join(kinds) or 'none'}")
        return None
    return MidiMessageOut(_encode_midi(kinds[0], found["midi"]), found["to"])


def _encode_midi(kind: str, found: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message (MIDI 1.0, table 1: channel voice messages)."""
    channel, number = found["channel"] - 1, found[kind]
    match kind:
        case "note":
            return bytes((0x90 | channel, number, found["value"]))
        case "cc":
            return bytes((0xB0 | channel, number, found["value"]))
        case "program":
            return bytes((0xC0 | channel, number))
        case "pitchbend":
            return bytes((0xE0 | channel, (number + 8192) & 127, (number + 8192) >> 7))
    return bytes(number)


def _read_messages(node: Node, problems: Problems) -> tuple[CueMessage, ...]:
    read = Items(Custom(_read_message, "a message")).read(node, problems) or ()
    if len(read) > MAX_MESSAGES:
        problems.add(node, f"a cue sends at most {MAX_MESSAGES} messages; here are {len(read)}")
    return tuple(message for message in read if message is not None)


MESSAGES = Custom(_read_messages, "a list of messages, such as [{osc: /light/go, args: [1], to: 192.168.1.20:8000}]",
                  Items(Section(_MESSAGE)))
