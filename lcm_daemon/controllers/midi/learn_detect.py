"""Detects which control was moved, from the messages that a device sent while it was moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.midi.messages import (
    DATA_ENTRY,
    DATA_ENTRY_FINE,
    FINE_OFFSET,
    NRPN,
    NRPN_FINE,
    Control,
    MessageDecoder,
)

if TYPE_CHECKING:
    from mido import Message

FEW = 4  # most messages of a button (presses and releases); fewest messages of an encoder

DetectedControl = dict[str, Any]  # first keys of a map's line: {"cc": 0, "channel": 1}; "relative" for an encoder

_CODINGS: Mapping[str, tuple[range, range]] = {  # values of slow turns to the right and to the left
    "twos_complement": (range(1, 9), range(120, 128)),
    "binary_offset": (range(65, 73), range(56, 64)),
    "signed_bit": (range(1, 9), range(65, 73)),
}


def detect_control(messages: Sequence[Message]) -> DetectedControl | None:
    """Return the control that moved most, or None. Faders go before keys: a touched motor fader also sends a key."""
    for find in (_find_nrpn, _find_fine_pair, _find_fader, _find_key):
        found = find(messages)
        if found is not None:
            return found
    return None


def is_button(found: DetectedControl, messages: Sequence[Message]) -> bool:
    """Whether a detected control was pressed, not turned."""
    if "note" in found or "program" in found:
        return True
    control = found.get("cc"), found["channel"]
    values = [value for number, channel, value in _control_changes(messages) if (number, channel) == control]
    return "cc" in found and "relative" not in found and set(values) <= {0, 127} and len(values) <= FEW


def _control_changes(messages: Sequence[Message]) -> Iterator[tuple[int, int, int]]:
    """Yield (number, channel, value) of every control change."""
    return ((one.control, one.channel + 1, one.value) for one in messages if one.type == "control_change")


def _count_controls(messages: Sequence[Message]) -> Counter[tuple[int, int]]:
    """Count the control changes by (number, channel)."""
    return Counter((number, channel) for number, channel, _ in _control_changes(messages))


def _find_nrpn(messages: Sequence[Message]) -> DetectedControl | None:
    counts = _count_controls(messages)
    for number, channel in counts:
        moved = (DATA_ENTRY, channel) in counts or (DATA_ENTRY_FINE, channel) in counts
        if number == NRPN and (NRPN_FINE, channel) in counts and moved:
            decoder = MessageDecoder(nrpn=True)
            events = [event for event in map(decoder.decode, messages) if event and event.control.kind == "nrpn"]
            return {"nrpn": events[-1].control.number, "channel": channel} if events else None
    return None


def _find_fine_pair(messages: Sequence[Message]) -> DetectedControl | None:
    """Two CCs whose numbers differ by 32 and that alternate are one 14-bit control."""
    counts = _count_controls(messages)
    for (number, channel), count in counts.most_common():
        fine = counts.get((number + FINE_OFFSET, channel), 0)
        if number < FINE_OFFSET and count > FEW and abs(count - fine) <= count // 2:
            return {"cc14": number, "channel": channel}
    return None


def _find_fader(messages: Sequence[Message]) -> DetectedControl | None:
    moved: dict[Control, list[int]] = {}
    decoder = MessageDecoder()
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
    coding = _encoder_coding(moved[control]) if control.kind == "cc" else ""
    return {**found, "relative": coding} if coding else found


def _encoder_coding(values: Sequence[int]) -> str:
    """The coding of an encoder, or an empty string for positions, which rarely repeat."""
    if len(values) < FEW or len(set(values)) > len(values) // 2:
        return ""
    return next((name for name, (right, left) in _CODINGS.items() if all(v in right or v in left for v in values)), "")


def _find_key(messages: Sequence[Message]) -> DetectedControl | None:
    events = filter(None, map(MessageDecoder().decode, messages))
    pressed = (event.control for event in events if event.control.kind in ("note", "program") and event.pressed)
    return next(({one.kind: one.number, "channel": one.channel} for one in pressed), None)
