"""One line of `dmx.map`: which channels it reads, and what they do.

    channel           1 to 512, or two of them, such as [2, 3], for 16 bits: coarse, then fine
    universe          as the sender counts; default: that of the section
    to, command       target: a parameter, or a command of the show
    with              arguments of the command
    range, curve      of a fader: the values at 0 and at full, and the way between them
    takeover          jump: the value follows at once; pickup: once the fader has reached it; scale
    button            toggle or momentary: the channel is a button, pressed from level 128 on
    values            values of the target, each for a part of the channel, as in the channel list of a fixture; those
                      of a command are its last argument, and level 0 does nothing
    from              levels from which the button is pressed, or from which each of `values` counts
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.controllers.curves import FADER_CURVES
from lcm_daemon.controllers.dmx.packet import ARTNET, CHANNELS, SACN, UNIVERSES
from lcm_daemon.controllers.midi.takeover import TAKEOVER
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Items, Number, Section, Text
from lcm_daemon.core.schema_shapes import Either

FULL, FULL_16_BIT = 255, 65535
PRESSED = 128  # level from which a button is pressed
FLICKER = 2  # levels by which a fader that rests moves
WIDE = 8  # levels of a part of a channel that a fader can rest in; narrower ones are chosen by exact levels
BUTTONS = ("toggle", "momentary")


@dataclass(frozen=True)
class DmxLine:
    """One line; the attributes are its keys.

    `thresholds` are the levels of its `from`, or those that follow from its other keys; none for a fader.
    `universe` is None for that of the section.
    """

    channels: tuple[int, ...]
    universe: int | None = None
    to: str = ""
    command: str = ""
    arguments: tuple[Any, ...] = ()
    span: tuple[float, float] | None = None
    curve: str = "linear"
    takeover: str = "jump"
    button: str = ""
    values: tuple[Any, ...] = ()
    thresholds: tuple[int, ...] = ()

    @property
    def full(self) -> int:
        """The raw value of a fader that is full on."""
        return FULL if len(self.channels) == 1 else FULL_16_BIT

    def raw(self, levels: bytes) -> int | None:
        """The raw value in a universe's levels; None if the sender does not send these channels."""
        if max(self.channels) > len(levels):
            return None
        return int.from_bytes(bytes(levels[channel - 1] for channel in self.channels), "big")

    def step(self, raw: int) -> int:
        """Which of the thresholds a raw value has passed: the number of the last one, -1 for none.

        Of two channels, the coarse one counts.
        """
        level = raw if len(self.channels) == 1 else raw >> 8
        return bisect.bisect_right(self.thresholds, level) - 1

    def is_flicker(self, before: int, raw: int) -> bool:
        """Whether a channel has fallen below a threshold by so little that it must not be armed again.

        A fader that rests at the threshold would start a command, or press a toggle, again and again.
        before, raw: Two raw values, one after the other.
        """
        if not (self.command or self.button == "toggle") or not 0 < raw < before:
            return False
        step = self.step(before)
        if (before - raw) * FULL > FLICKER * self.full or self.step(raw) == step:
            return False
        return self.thresholds[step] - (self.thresholds[step - 1] if step else 0) > WIDE

    def __str__(self) -> str:
        return f"channel {'+'.join(map(str, self.channels))}"


# Reading

def _read_channels(node: Node, problems: Problems) -> tuple[int, ...] | None:
    value = node.value
    channels = value if isinstance(value, list) else [value]
    if len(channels) in (1, 2) and all(type(each) is int and 1 <= each <= CHANNELS for each in channels):
        return tuple(channels)
    problems.add(node, f"{value!r:.80} is not {_CHANNELS.describe()}")
    return None


def _read_range(node: Node, problems: Problems) -> Any:
    pair = Items(Number(-1e9, 1e10)).read(node, problems)
    if pair is None or None in pair or len(pair) == 2:
        return pair
    return problems.add(node, f"a range is {_RANGE.describe()}")


def _read_scalar(node: Node, problems: Problems) -> Any:
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool | int | float | str):
        return node.value
    return problems.add(node, f"{node.value!r:.80} is not a number, true, false or text")


def _read_from(node: Node, problems: Problems) -> tuple[int, ...] | None:
    value = node.value
    levels = value if isinstance(value, list) else [value]
    if levels and all(type(each) is int and 0 <= each <= FULL for each in levels) and sorted(set(levels)) == levels:
        return tuple(levels)
    problems.add(node, f"{value!r:.80} is not {_FROM.describe()}")
    return None


_CHANNEL = Number(1, CHANNELS, whole=True)
_LEVEL = Number(0, FULL, whole=True)
_CHANNELS = Custom(_read_channels, "a channel from 1 to 512, or two such as [2, 3] for 16 bits",
                   Either((_CHANNEL, Items(_CHANNEL))))
_RANGE = Custom(_read_range, "two numbers such as [0.2, 0.9]", Items(Number(-1e9, 1e10)))
_SCALAR = Custom(_read_scalar, "a number, true, false or text")
_FROM = Custom(_read_from, "a level from 0 to 255, or several in rising order", Either((_LEVEL, Items(_LEVEL))))
UNIVERSE = Number(UNIVERSES[ARTNET][0], UNIVERSES[SACN][1], whole=True)
_FIELDS: Fields = {
    "channel": Field(_CHANNELS, help="1 to 512, or [coarse, fine]"),
    "universe": Field(UNIVERSE, None, "as the sender counts; default: that of the section"),
    "to": Field(Text("parameter"), "", "the parameter that it sets"),
    "command": Field(Text("command"), "", "the command that it runs"),
    "with": Field(Items(_SCALAR), (), "arguments of the command"),
    "range": Field(_RANGE, None, "values at level 0 and at full"),
    "curve": Field(Choice(tuple(FADER_CURVES)), "linear", "the way between the two"),
    "takeover": Field(Choice(tuple(TAKEOVER)), "jump", "when the value follows the fader"),
    "button": Field(Choice(BUTTONS), "", "the channel is a button"),
    "values": Field(Items(_SCALAR), (), "values for parts of the channel"),
    "from": Field(_FROM, (), "levels from which the button, or each of the values, counts"),
}


def _read_line(node: Node, problems: Problems) -> DmxLine | None:
    before = len(problems)
    found = Section(_FIELDS).read(node, problems)
    if found is None or len(problems) > before:
        return None
    mistake = _mistake(found)
    if mistake:
        problems.add(node, mistake)
        return None
    _refer_to_values(node, found, problems)
    return DmxLine(
        found["channel"], found["universe"], found["to"], found["command"], tuple(found["with"]), found["range"],
        found["curve"], found["takeover"], found["button"], tuple(found["values"]), _thresholds(found))


def _mistake(found: Mapping[str, Any]) -> str:
    """What is wrong with a line whose keys are valid one by one, or an empty string."""
    is_fader = found["to"] and not found["button"] and not found["values"]
    parts = len(found["values"]) if found["values"] and not found["button"] else 1
    if bool(found["to"]) == bool(found["command"]):
        return "a line needs exactly one of to, command"
    if found["button"] and not found["to"]:
        return "a command needs no `button`: it runs when the channel passes the level of `from`"
    if found["with"] and not found["command"]:
        return "`with` has the arguments of a command"
    if found["range"] and not found["to"]:
        return "`range` is that of a parameter"
    if found["from"] and is_fader:
        return "`from` is for a button, a command, or `values`"
    if found["from"] and len(found["from"]) != parts:
        return f"`from` needs as many levels as there are values: {parts}"
    if found["values"] and parts > FULL:
        return f"a channel has room for {FULL} values"
    return ""


def _thresholds(found: Mapping[str, Any]) -> tuple[int, ...]:
    """The levels of `from`, or equal parts of the channel; a command's begin above 0."""
    count = len(found["values"])
    if found["from"]:
        return tuple(found["from"])
    if found["button"] or (found["command"] and not count):
        return (PRESSED,)
    lowest = 1 if found["command"] else 0
    return tuple(lowest + -(-place * (FULL + 1 - lowest) // count) for place in range(count))


def _refer_to_values(node: Node, found: Mapping[str, Any], problems: Problems) -> None:
    """Note the values and arguments, which fit the target or not."""
    nodes = {str(key.raw.value): value for key, value in node.items()}
    items: Sequence[Node] = [Node(node.file, raw) for raw in nodes["values"].raw.value] if found["values"] else ()
    for item in items:
        problems.refer(item, "value" if found["to"] else "arguments", found["to"] or found["command"])
    if found["with"]:
        problems.refer(nodes["with"], "subject" if items else "arguments", found["command"])


LINE = Custom(_read_line, "a mapping such as {channel: 1, to: strength}", Section(_FIELDS))
