"""One line of a MIDI map, such as `{cc: 0, to: strength, range: [0.2, 0.9]}`.

    cc, cc14, nrpn, rpn, note   the control: a number; several numbers with `button: radio` or with `command`
    pitchbend, aftertouch       controls without a number; aftertouch with a number is that of one key
    program                     without a number, the program number is the value; with one, that program is a button
    channel                     1 to 16; default: any
    device                      name pattern of the device that the line is for, if there are several
    to, command, bank           target: a parameter, a command of the show, or a bank ("next", "previous" or a name)
    with                        arguments of the command. Of several buttons each adds its own: the one of `values`, or
                                its place, counted from 1. A program change without a number adds its number, counted
                                from 1. With `range`, a fader or a velocity runs the command with its value added
    range, curve, takeover      of a fader or knob
    touch                       of a motor fader: the note that says that it is touched, or {note: 104, channel: 1}.
                                Only a touched fader moves the value, and only an untouched one is moved
    relative, step              of an endless encoder: its coding, and the change per detent in the value's unit
    button, value, values       of a button; `value` alone: a press sets that value
    feedback                    false; or the control that shows the value (lamp, ring, motor), if it is another one:
                                {note: 3, channel: 1, range: [0, 1]}, where the range is sent for low and high;
                                {echo: true} also sends a fader's own moves back, as Mackie Control expects it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.controllers.curves import FADER_CURVES
from lcm_daemon.controllers.midi.messages import Control, full_scale
from lcm_daemon.controllers.midi.takeover import RELATIVE, TAKEOVER
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Boolean, Choice, Custom, Field, Fields, Items, Number, Section, Text
from lcm_daemon.core.schema_shapes import Either

MAX_NUMBER: Mapping[str, int] = {  # highest number of each kind of control
    "cc": 127, "cc14": 31, "nrpn": 16382, "rpn": 16382, "note": 127, "pitchbend": 0, "aftertouch": 127, "program": 127,
}
NUMBERED = frozenset({"cc", "cc14", "nrpn", "rpn", "note"})  # kinds that require a number
SENDABLE = frozenset({"cc", "cc14", "nrpn", "rpn", "note", "pitchbend"})
TOUCHES = frozenset({"cc", "note"})  # kinds that say that a fader is touched
TARGETS: Mapping[str, str] = {"to": "parameter", "command": "command", "bank": "bank"}  # keys, and what they name
BUTTONS = ("toggle", "momentary", "radio")
_PICKUP_KINDS = frozenset({"cc", "cc14", "nrpn", "rpn"})  # pickup by default; others return to rest when released
_ABSENT: Any = object()


@dataclass(frozen=True)
class MidiFeedback:
    """The control that shows a value.

    Attributes:
        kind: Kind of the control, one of SENDABLE.
        numbers: Its numbers.
        channel: 1 to 16, or 0 for the channel of the binding.
        low: Raw value for the low end.
        high: Raw value for the high end.
        echo: Whether a fader's own moves are sent back to it.
    """

    kind: str
    numbers: tuple[int | None, ...]
    channel: int
    low: int
    high: int
    echo: bool = False


@dataclass(frozen=True)
class Touch:
    """The control that says that a motor fader is touched. channel: 1 to 16, or 0 for any."""

    kind: str
    number: int
    channel: int = 0

    def is_sent_by(self, control: Control) -> bool:
        """Whether this is the control."""
        return (self.kind, self.number) == (control.kind, control.number) and self.channel in (0, control.channel)


@dataclass(frozen=True)
class Binding:
    """One line of a map; the attributes are its keys.

    A number of None and a channel of 0 match any. `values` holds the line's `value` or `values`.
    """

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
    feedback: MidiFeedback | None = None
    touch: Touch | None = None

    @property
    def action(self) -> str:
        """What it does: command, send, bank, set, toggle, momentary, radio, relative, program or absolute.

        `send` runs the command with the value of a fader.
        """
        if self.command:
            return "command" if self.span is None else "send"
        if self.bank:
            return "bank"
        if self.button:
            return self.button
        if self.values:
            return "set"
        if self.relative:
            return "relative"
        if self.kind == "program" and self.span is None:
            return "program"
        return "absolute"

    def command_arguments(self, number: int | None) -> tuple[Any, ...]:
        """Return the arguments of the command for the button with this number, None for the first one."""
        if self.kind == "program" and self.numbers == (None,):
            return (*self.arguments, (number or 0) + 1)
        if len(self.numbers) == 1:
            return (*self.arguments, *self.values)
        place = self.numbers.index(number) if number in self.numbers else 0
        return (*self.arguments, self.values[place] if self.values else place + 1)

    def __str__(self) -> str:
        numbers = ", ".join(str(number) for number in self.numbers if number is not None)
        return f"{self.kind} {numbers}".strip()


# Reading

def _number_field(kind: str) -> Custom:
    described = f"a whole number from 0 to {MAX_NUMBER[kind]}"
    if kind not in NUMBERED:
        described += ", or nothing"

    def read(node: Node, problems: Problems) -> tuple[int | None, ...] | None:
        value = node.value
        several = value if isinstance(value, list) and value else [value]
        if value is None and kind not in NUMBERED:
            return (None,)
        if kind == "pitchbend":
            problems.add(node, "pitchbend has no number: write `pitchbend:` alone")
            return None
        if all(type(one) is int and 0 <= one <= MAX_NUMBER[kind] for one in several):
            return tuple(several)
        problems.add(node, f"{value!r:.80} is not {described}")
        return None

    number = Number(0, MAX_NUMBER[kind], whole=True)
    return Custom(read, described, Either((number, Items(number))))


def _pair_field(low: float, high: float, whole: bool) -> Custom:
    described = f"two numbers such as [{'0, 127' if whole else '0.2, 0.9'}]"

    def read(node: Node, problems: Problems) -> Any:
        pair = Items(Number(low, high, whole)).read(node, problems)
        if pair is None or None in pair or len(pair) == 2:
            return pair
        problems.add(node, f"a range is {described}")
        return None

    return Custom(read, described)


def _read_scalar(node: Node, problems: Problems) -> Any:
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool | int | float | str):
        return node.value
    problems.add(node, f"{node.value!r:.80} is not a number, true, false or text")
    return None


def _read_keys(node: Node, fields: Fields, problems: Problems) -> dict[str, Any] | None:
    """Read a mapping. Its kind of control may be a key without a value: `pitchbend:`."""
    found: dict[str, Any] | None = Section(fields).read(node, problems)
    if found is not None:
        for key, value in node.items():
            name = str(key.raw.value)
            if name in MAX_NUMBER and found.get(name) is _ABSENT:
                found[name] = fields[name].kind.read(value, problems)
    return found


def _read_feedback(node: Node, problems: Problems) -> Any:
    if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
        return node.value
    return _read_keys(node, _FEEDBACK_FIELDS, problems)


def _read_touch(node: Node, problems: Problems) -> Touch | None:
    if isinstance(node.raw, yaml.ScalarNode):
        numbers = _number_field("note").read(node, problems)
        return Touch("note", numbers[0]) if numbers else None
    found = _read_keys(node, _TOUCH_FIELDS, problems)
    if found is None:
        return None
    kinds = [kind for kind in sorted(TOUCHES) if found[kind] is not _ABSENT]
    if len(kinds) != 1 or not found[kinds[0]]:
        problems.add(node, f"touch needs exactly one of {', '.join(sorted(TOUCHES))}")
        return None
    return Touch(kinds[0], found[kinds[0]][0], found["channel"])


_SCALAR = Custom(_read_scalar, "a number, true, false or text")
_CHANNEL = Number(1, 16, whole=True)
_FEEDBACK_FIELDS: Fields = {
    **{kind: Field(_number_field(kind), _ABSENT) for kind in MAX_NUMBER if kind in SENDABLE},
    "channel": Field(_CHANNEL, 0),
    "range": Field(_pair_field(0, 16383, True), None),
    "echo": Field(Boolean(), False),
}
_TOUCH_FIELDS: Fields = {
    **{kind: Field(_number_field(kind), _ABSENT) for kind in sorted(TOUCHES)}, "channel": Field(_CHANNEL, 0),
}
_FIELDS: Fields = {
    **{kind: Field(_number_field(kind), _ABSENT) for kind in MAX_NUMBER},
    "channel": Field(_CHANNEL, 0),
    "device": Field(Text(), "*"),
    **{target: Field(Text(refers), "") for target, refers in TARGETS.items()},
    "with": Field(Items(_SCALAR), ()),
    "range": Field(_pair_field(-1e9, 1e10, False), None),
    "curve": Field(Choice(tuple(FADER_CURVES)), "linear"),
    "takeover": Field(Choice(tuple(TAKEOVER)), ""),
    "relative": Field(Choice(tuple(RELATIVE)), ""),
    "step": Field(Number(-1e9, 1e9), None),
    "button": Field(Choice(BUTTONS), ""),
    "value": Field(_SCALAR, _ABSENT),
    "values": Field(Items(_SCALAR), ()),
    "feedback": Field(Custom(_read_feedback, "false, or a mapping such as {note: 3, range: [0, 1]}"), True),
    "touch": Field(Custom(_read_touch, "the number of a note, or a mapping such as {note: 104, channel: 1}"), None),
}


def _read_binding(node: Node, problems: Problems) -> Binding | None:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, f"{node.value!r:.80} is not {BINDING.describe()}")
        return None
    before = len(problems)
    found = _read_keys(node, _FIELDS, problems)
    if found is None or len(problems) > before:
        return None
    mistake = _mistake(found)
    if mistake:
        problems.add(node, mistake)
        return None
    _refer_to_values(node, found, problems)
    return _build_binding(found)


def _refer_to_values(node: Node, found: Mapping[str, Any], problems: Problems) -> None:
    """Note the values and arguments, which fit the target or not."""
    nodes = {str(key.raw.value): value for key, value in node.items()}
    if found["to"] and "value" in nodes:
        problems.refer(nodes["value"], "value", found["to"])
    if found["to"] and "values" in nodes:
        for item in nodes["values"].raw.value:
            problems.refer(Node(node.file, item), "value", found["to"])
    if found["command"]:
        _refer_to_arguments(nodes, found, problems)


def _refer_to_arguments(nodes: Mapping[str, Node], found: Mapping[str, Any], problems: Problems) -> None:
    """Note the arguments of a command: those of the line, and those that each button adds."""
    command, buttons = found["command"], [nodes[key] for key in ("value", "values") if key in nodes]
    is_one_button = isinstance(found.get("note"), tuple) and len(found["note"]) == 1
    if "with" in nodes:
        is_all = is_one_button and not found["range"] and not buttons
        problems.refer(nodes["with"], "arguments" if is_all else "subject", command)
    elif not found["range"]:
        for node in buttons:
            items = node.raw.value if isinstance(node.raw, yaml.SequenceNode) else [node.raw]
            for item in items:
                problems.refer(Node(node.file, item), "arguments", command)


def _mistake(found: Mapping[str, Any]) -> str:
    """What is wrong with a line whose keys are valid one by one, or an empty string."""
    kinds = [kind for kind in MAX_NUMBER if found[kind] is not _ABSENT]
    targets = [target for target in TARGETS if found[target]]
    if len(kinds) != 1:
        return f"a line needs exactly one of {', '.join(MAX_NUMBER)}; it has {' and '.join(kinds) or 'none'}"
    if len(targets) != 1:
        return f"a line needs exactly one of {', '.join(TARGETS)}; it has {' and '.join(targets) or 'none'}"
    numbers = len(found[kinds[0]])
    if numbers > 1 and found["button"] != "radio" and not found["command"]:
        return "several controls on one line are the buttons of a radio group: add `button: radio`"
    if found["values"] and len(found["values"]) != numbers and (found["button"] == "radio" or found["command"]):
        buttons = "a radio group" if found["button"] == "radio" else "a command"
        return f"{buttons} needs as many values as buttons: {numbers}"
    if found["touch"] and (not found["to"] or found["button"] or found["relative"]):
        return "only a fader can have `touch`"
    if found["relative"] and kinds[0] != "cc":
        return "only a cc can be a relative encoder"
    return ""


def _build_binding(found: Mapping[str, Any]) -> Binding:
    kind = next(kind for kind in MAX_NUMBER if found[kind] is not _ABSENT)
    value = () if found["value"] is _ABSENT else (found["value"],)
    takeover = found["takeover"] or ("pickup" if kind in _PICKUP_KINDS else "jump")
    return Binding(
        kind, found[kind], channel=found["channel"], device=found["device"], to=found["to"], command=found["command"],
        bank=found["bank"], arguments=found["with"], span=found["range"], curve=found["curve"], takeover=takeover,
        relative=found["relative"], step=found["step"], button=found["button"], values=found["values"] or value,
        feedback=_build_feedback(kind, found[kind], found["feedback"]), touch=found["touch"],
    )


def _build_feedback(kind: str, numbers: tuple[int | None, ...], found: Any) -> MidiFeedback | None:
    """The control that shows the value: the one that the line names, or else the line's own control."""
    if found is False:
        return None
    given = {} if found is True else found
    other = next((name for name in SENDABLE if given.get(name, _ABSENT) is not _ABSENT), None)
    if other is not None:
        kind, numbers = other, given[other]
    if kind not in SENDABLE:
        return None
    low, high = given.get("range") or (0, full_scale(kind))
    return MidiFeedback(kind, numbers, given.get("channel", 0), min(low, full_scale(kind)), min(high, full_scale(kind)),
                        given.get("echo", False))


BINDING = Custom(_read_binding, "a mapping such as {cc: 0, to: strength}", Section(_FIELDS))
