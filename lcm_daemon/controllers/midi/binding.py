"""Binding: one line of a MIDI map, such as `{cc: 0, to: strength, range: [0.2, 0.9]}`, and how it is read.

    cc, cc14, nrpn, note        what moves: a number, or several numbers for `button: radio`
    pitchbend, aftertouch       these need none; aftertouch with a number is that of one key
    program                     none: its number is the value; with a number that program alone, as a button
    channel                     1 to 16; any where it is left out
    device                      the pattern of the one device it is meant for, where there are several
    to, command, bank           where it goes: a parameter, a command of the show, a bank ("next", "previous" or a name)
    with                        what the command takes
    range, curve, takeover      of a fader or a knob
    relative, step              of an endless encoder: its coding, and how far one detent goes (in the value's own unit)
    button, value, values       of a button; `value` alone: pressed, it sets that
    feedback                    false; or where the lamp, ring or motor listens, where that is not the control itself:
                                {note: 3, channel: 1, range: [0, 1]}, its range being what is sent for low and high
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.controllers.curves import FADER_CURVES
from lcm_daemon.controllers.midi.messages import full_scale
from lcm_daemon.controllers.midi.takeover import RELATIVE, TAKEOVER
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Choice, Custom, Field, Fields, Items, Number, Section, Text, read_fields

HIGHEST: Mapping[str, int] = {  # the highest number that each kind of control can have
    "cc": 127, "cc14": 31, "nrpn": 16382, "note": 127, "pitchbend": 0, "aftertouch": 127, "program": 127,
}
NUMBERED = frozenset({"cc", "cc14", "nrpn", "note"})  # these are nothing without a number
SENDABLE = frozenset({"cc", "cc14", "nrpn", "note", "pitchbend"})
TARGETS = ("to", "command", "bank")
BUTTONS = ("toggle", "momentary", "radio")
_SOFT = frozenset({"cc", "cc14", "nrpn"})  # taken over softly unless it says otherwise; the others spring back
_ABSENT: Any = object()


@dataclass(frozen=True)
class Feedback:
    """Where a control's lamp, ring or motor listens, and what it is sent for the low and the high end."""

    kind: str
    numbers: tuple[int | None, ...]
    channel: int  # 0: the control's own
    low: int
    high: int


@dataclass(frozen=True)
class Binding:
    """One line of a map. number None and channel 0 fit any; values are those of `value` or `values`."""

    kind: str
    numbers: tuple[int | None, ...]
    channel: int = 0
    device: str = "*"
    to: str = ""
    command: str = ""
    bank: str = ""
    arguments: tuple[Any, ...] = ()
    span: tuple[float, float] | None = None
    curve: str = "linear"
    takeover: str = "pickup"
    relative: str = ""
    step: float | None = None
    button: str = ""
    values: tuple[Any, ...] = ()
    feedback: Feedback | None = None

    @property
    def manner(self) -> str:
        """How it works: command, bank, set, toggle, momentary, radio, relative, program or absolute."""
        given = {"command": self.command, "bank": self.bank, self.button: self.button, "set": self.values,
                 "relative": self.relative, "program": self.kind == "program" and self.span is None}
        return next((name for name, there in given.items() if there), "absolute")

    def __str__(self) -> str:
        numbers = ", ".join(str(number) for number in self.numbers if number is not None)
        return f"{self.kind} {numbers}".strip()


# Reading

def _read_numbers(kind: str) -> Custom:
    described = f"a whole number from 0 to {HIGHEST[kind]}"
    nothing = "" if kind in NUMBERED else ", or nothing"

    def read(node: Node, problems: Problems) -> tuple[int | None, ...] | None:
        value = node.value
        several = value if isinstance(value, list) and value else [value]
        if value is None and kind not in NUMBERED:
            return (None,)
        if all(type(one) is int and 0 <= one <= HIGHEST[kind] for one in several) and kind != "pitchbend":
            return tuple(several)
        problems.add(node, f"{value!r:.80} is not {described}{nothing}" if kind != "pitchbend" else
                        "pitchbend has no number: write `pitchbend:` alone")
        return None

    return Custom(read, described + nothing)


def _read_pair(low: float, high: float, whole: bool) -> Custom:
    described = f"two numbers such as [{'0, 127' if whole else '0.2, 0.9'}]"

    def read(node: Node, problems: Problems) -> Any:
        pair = Items(Number(low, high, whole)).read(node, problems)
        if pair is None or None in pair or len(pair) == 2:
            return pair
        problems.add(node, f"a range is {described}")
        return None

    return Custom(read, described)


def _plain(node: Node, problems: Problems) -> Any:
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool | int | float | str):
        return node.value
    problems.add(node, f"{node.value!r:.80} is not a number, true, false or text")
    return None


def _read_feedback(node: Node, problems: Problems) -> Any:
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
        return node.value
    return Section(_FEEDBACK).read(node, problems)


_PLAIN = Custom(_plain, "a number, true, false or text")
_CHANNEL = Number(1, 16, whole=True)
_FEEDBACK: Fields = {
    **{kind: Field(_read_numbers(kind), _ABSENT) for kind in HIGHEST if kind in SENDABLE},
    "channel": Field(_CHANNEL, 0),
    "range": Field(_read_pair(0, 16383, True), None),
}
_FIELDS: Fields = {
    **{kind: Field(_read_numbers(kind), _ABSENT) for kind in HIGHEST},
    "channel": Field(_CHANNEL, 0),
    "device": Field(Text(), "*"),
    **{target: Field(Text(), "") for target in TARGETS},
    "with": Field(Items(_PLAIN), ()),
    "range": Field(_read_pair(-1e9, 1e10, False), None),
    "curve": Field(Choice(tuple(FADER_CURVES)), "linear"),
    "takeover": Field(Choice(tuple(TAKEOVER)), ""),
    "relative": Field(Choice(tuple(RELATIVE)), ""),
    "step": Field(Number(-1e9, 1e9), None),
    "button": Field(Choice(BUTTONS), ""),
    "value": Field(_PLAIN, _ABSENT),
    "values": Field(Items(_PLAIN), ()),
    "feedback": Field(Custom(_read_feedback, "false, or a mapping such as {note: 3, range: [0, 1]}"), True),
}


def _read(node: Node, problems: Problems) -> Binding | None:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, f"{node.value!r:.80} is not {BINDING.describe()}")
        return None
    before = len(problems)
    found = read_fields(node, _FIELDS, problems)
    if len(problems) > before:
        return None
    objection = _objection(found)
    if objection:
        problems.add(node, objection)
        return None
    return _binding(found)


def _objection(found: Mapping[str, Any]) -> str:
    """What is wrong with a line whose keys are all right by themselves; empty where nothing is."""
    sources = [kind for kind in HIGHEST if found[kind] is not _ABSENT]
    targets = [target for target in TARGETS if found[target]]
    if len(sources) != 1:
        return f"a control is one of {', '.join(HIGHEST)}, and here are {' and '.join(sources) or 'none of them'}"
    if len(targets) != 1:
        return f"it goes to one of {', '.join(TARGETS)}, and here are {' and '.join(targets) or 'none of them'}"
    numbers = len(found[sources[0]])
    if numbers > 1 and found["button"] != "radio":
        return "several controls on one line are the buttons of a radio group: add `button: radio`"
    if found["button"] == "radio" and found["values"] and len(found["values"]) != numbers:
        return f"a radio group has as many values as buttons: {numbers}"
    if found["relative"] and sources[0] != "cc":
        return "a relative encoder is a cc"
    return ""


def _binding(found: Mapping[str, Any]) -> Binding:
    kind = next(kind for kind in HIGHEST if found[kind] is not _ABSENT)
    value = () if found["value"] is _ABSENT else (found["value"],)
    return Binding(
        kind, found[kind], found["channel"], found["device"], found["to"], found["command"], found["bank"],
        found["with"], found["range"], found["curve"], found["takeover"] or ("pickup" if kind in _SOFT else "jump"),
        found["relative"], found["step"], found["button"], found["values"] or value,
        _feedback(kind, found[kind], found["feedback"]),
    )


def _feedback(kind: str, numbers: tuple[int | None, ...], found: Any) -> Feedback | None:
    """Where the feedback goes: what is written, and for the rest the control itself."""
    if found is False:
        return None
    given = {} if found is True else found
    other = next((name for name in SENDABLE if given.get(name, _ABSENT) is not _ABSENT), None)
    kind, numbers = (kind, numbers) if other is None else (other, given[other])
    if kind not in SENDABLE:
        return None
    low, high = given.get("range") or (0, full_scale(kind))
    return Feedback(kind, numbers, given.get("channel", 0), min(low, full_scale(kind)), min(high, full_scale(kind)))


BINDING = Custom(_read, "a mapping such as {cc: 0, to: strength}")
