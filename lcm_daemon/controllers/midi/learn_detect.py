"""Guess: which control moved, from what a device sent while a hand was on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.midi.messages import ENTRY, ENTRY_FINE, FINE, NRPN, NRPN_FINE, Control, Decoder

if TYPE_CHECKING:
    from mido import Message

FEW = 4  # a button is pressed at most this often, presses and releases counted; an encoder turns at least this often

Guess = dict[str, Any]  # the first keys of a map's line: {"cc": 0, "channel": 1}, with "relative" for an encoder

_CODINGS: Mapping[str, tuple[range, range]] = {  # what slow turns to the right and to the left send
    "twos_complement": (range(1, 9), range(120, 128)),
    "binary_offset": (range(65, 73), range(56, 64)),
    "signed_bit": (range(1, 9), range(65, 73)),
}


def guess(messages: Sequence[Message]) -> Guess | None:
    """The control that moved most: faders before keys, since a motor fader sends a key when it is touched."""
    for find in (_nrpn, _pair, _mover, _key):
        found = find(messages)
        if found is not None:
            return found
    return None


def is_button(found: Guess, messages: Sequence[Message]) -> bool:
    """Whether a guess was pressed, not turned."""
    if "note" in found or "program" in found:
        return True
    values = [value for number, channel, value in _ccs(messages) if (number, channel) == _place(found)]
    return "cc" in found and "relative" not in found and set(values) <= {0, 127} and len(values) <= FEW


def _place(found: Guess) -> tuple[Any, Any]:
    return found.get("cc"), found["channel"]


def _ccs(messages: Sequence[Message]) -> Iterator[tuple[int, int, int]]:
    """(number, channel, value) of every control change."""
    return ((one.control, one.channel + 1, one.value) for one in messages if one.type == "control_change")


def _nrpn(messages: Sequence[Message]) -> Guess | None:
    numbers = Counter((number, channel) for number, channel, _ in _ccs(messages))
    for number, channel in numbers:
        moved = (ENTRY, channel) in numbers or (ENTRY_FINE, channel) in numbers
        if number == NRPN and (NRPN_FINE, channel) in numbers and moved:
            decoder = Decoder(nrpn=True)
            events = [event for event in map(decoder.decode, messages) if event and event.control.kind == "nrpn"]
            return {"nrpn": events[-1].control.number, "channel": channel} if events else None
    return None


def _pair(messages: Sequence[Message]) -> Guess | None:
    """Two CCs that are 32 apart and come in turns are one control."""
    numbers = Counter((number, channel) for number, channel, _ in _ccs(messages))
    for (number, channel), count in numbers.most_common():
        fine = numbers.get((number + FINE, channel), 0)
        if number < FINE and count > FEW and abs(count - fine) <= count // 2:
            return {"cc14": number, "channel": channel}
    return None


def _mover(messages: Sequence[Message]) -> Guess | None:
    moved: dict[Control, list[int]] = {}
    decoder = Decoder()
    for event in filter(None, map(decoder.decode, messages)):
        if event.control.kind in ("cc", "pitchbend", "aftertouch"):
            moved.setdefault(event.control, []).append(event.raw)
    if not moved:
        return None
    keys = any(one.type == "note_on" and one.velocity for one in messages)
    control = max(moved, key=lambda one: (one.kind != "aftertouch", len(moved[one])))
    if keys and control.kind == "aftertouch":
        return None  # a pad that was pressed hard
    found = {control.kind: control.number, "channel": control.channel}
    coding = _coding(moved[control]) if control.kind == "cc" else ""
    return {**found, "relative": coding} if coding else found


def _coding(values: Sequence[int]) -> str:
    """An encoder's coding; empty for values that are positions: they seldom come twice."""
    if len(values) < FEW or len(set(values)) > len(values) // 2:
        return ""
    return next((name for name, (right, left) in _CODINGS.items() if all(v in right or v in left for v in values)), "")


def _key(messages: Sequence[Message]) -> Guess | None:
    events = filter(None, map(Decoder().decode, messages))
    pressed = (event.control for event in events if event.control.kind in ("note", "program") and event.pressed)
    return next(({one.kind: one.number, "channel": one.channel} for one in pressed), None)
