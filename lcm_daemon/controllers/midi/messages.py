"""MIDI messages: reads those of mido into `ControlEvent`s, and builds the bytes of feedback. Numbers are of MIDI 1.0.

A 14-bit control (`cc14: 1`) sends its coarse half (MSB) as CC 1 and its fine half (LSB) as CC 33. An NRPN is selected
by CC 99 and 98 and set by CC 6 (coarse), CC 38 (fine), CC 96 (increment) and CC 97 (decrement). A control that never
sends its fine half is read as 7 bits, so that its upper end is the end of the range. A control that does is read when
the fine half arrives, which follows the coarse one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mido import Message

MAX_7_BIT, MAX_14_BIT = 127, 16383  # full scale of one data byte, and of two
FINE_OFFSET = 32  # from the number of a coarse CC to that of its fine one
DATA_ENTRY, DATA_ENTRY_FINE, DATA_INCREMENT, DATA_DECREMENT = 6, 38, 96, 97
NRPN_FINE, NRPN, RPN_FINE, RPN = 98, 99, 100, 101
NULL_NRPN = 16383  # selects no NRPN: data entry is off
PITCH_CENTRE = 8192  # raw value of the centre of pitch bend, where mido counts from

_DATA_CONTROLS = frozenset({
    DATA_ENTRY, DATA_ENTRY_FINE, DATA_INCREMENT, DATA_DECREMENT, NRPN_FINE, NRPN, RPN_FINE, RPN,
})


def parse(data: Sequence[int]) -> Message | None:
    """Parse the bytes of one message, or return None if they are not a message. Imports mido at the first call."""
    from mido import Message

    try:
        return Message.from_bytes(data)
    except (ValueError, IndexError):  # IndexError: mido 1.3.3, for half a pitch bend
        return None


@dataclass(frozen=True)
class Control:
    """One knob, key or fader of a device.

    Attributes:
        kind: "cc", "cc14", "nrpn", "note", "pitchbend", "aftertouch" or "program".
        number: Its number, or None if messages of the kind have none.
        channel: 1 to 16.
    """

    kind: str
    number: int | None
    channel: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}" if self.number is not None else self.kind


@dataclass(frozen=True)
class ControlEvent:
    """A control was moved.

    Attributes:
        control: The control.
        raw: Its value, 0 to `top`.
        top: Full scale of `raw`.
        step: 1 or -1 if the message only says up or down, else 0.
    """

    control: Control
    raw: int
    top: int = MAX_7_BIT
    step: int = 0

    @property
    def position(self) -> float:
        """The value as a number in [0, 1]."""
        return self.raw / self.top

    @property
    def pressed(self) -> bool:
        """Whether a button is pressed: a note with a velocity, any program, anything else in its upper half."""
        return self.raw > 0 if self.control.kind == "note" else self.control.kind == "program" or self.position >= 0.5


@dataclass
class _FinePair:
    """The two halves of a 14-bit value."""

    coarse: int = 0
    has_fine: bool = False

    def receive(self, value: int, is_fine: bool) -> tuple[int, int] | None:
        """Return (raw value, full scale), or None while the fine half is missing."""
        if is_fine:
            self.has_fine = True
            return self.coarse << 7 | value, MAX_14_BIT
        self.coarse = value
        return None if self.has_fine else (value, MAX_7_BIT)


@dataclass
class _ChannelState:
    pairs: dict[tuple[str, int], _FinePair] = field(default_factory=dict)
    coarse: int = 127  # of the selected NRPN
    fine: int = 127

    @property
    def nrpn(self) -> int:
        return self.coarse << 7 | self.fine


class MessageDecoder:
    """Decodes the messages of one device.

    Args:
        coarse: The CCs that are the coarse half of a 14-bit control.
        nrpn: Whether the device has NRPNs; else their CCs are ordinary ones.
    """

    def __init__(self, coarse: Collection[int] = (), nrpn: bool = False) -> None:
        self._coarse, self._nrpn = frozenset(coarse), nrpn
        self._channels = [_ChannelState() for _ in range(16)]

    def decode(self, message: Message) -> ControlEvent | None:
        """Decode a message; return None if it moves nothing (clock, sysex, half of a pair)."""
        match message.type:
            case "control_change":
                return self._decode_cc(message.channel + 1, message.control, message.value)
            case "note_on":
                return ControlEvent(Control("note", message.note, message.channel + 1), message.velocity)
            case "note_off":
                return ControlEvent(Control("note", message.note, message.channel + 1), 0)
            case "pitchwheel":
                raw = message.pitch + PITCH_CENTRE
                return ControlEvent(Control("pitchbend", None, message.channel + 1), raw, MAX_14_BIT)
            case "program_change":
                return ControlEvent(Control("program", message.program, message.channel + 1), message.program)
            case "aftertouch":
                return ControlEvent(Control("aftertouch", None, message.channel + 1), message.value)
            case "polytouch":
                return ControlEvent(Control("aftertouch", message.note, message.channel + 1), message.value)
        return None

    def _decode_cc(self, channel: int, number: int, value: int) -> ControlEvent | None:
        if self._nrpn and number in _DATA_CONTROLS:
            is_nrpn, event = self._decode_nrpn(channel, number, value)
            if is_nrpn:
                return event
        if number in self._coarse:
            return self._decode_half("cc14", number, channel, value, is_fine=False)
        if number - FINE_OFFSET in self._coarse:
            return self._decode_half("cc14", number - FINE_OFFSET, channel, value, is_fine=True)
        return ControlEvent(Control("cc", number, channel), value)

    def _decode_nrpn(self, channel: int, number: int, value: int) -> tuple[bool, ControlEvent | None]:
        """Whether a CC belongs to an NRPN or RPN, and its event, if it has one."""
        state = self._channels[channel - 1]
        if number in (RPN, RPN_FINE):
            state.coarse = state.fine = 127
            return True, None
        if number == NRPN:
            state.coarse = value
            return True, None
        if number == NRPN_FINE:
            state.fine = value
            return True, None
        if state.nrpn == NULL_NRPN:
            return False, None  # an ordinary CC
        if number in (DATA_INCREMENT, DATA_DECREMENT):
            step = 1 if number == DATA_INCREMENT else -1
            return True, ControlEvent(Control("nrpn", state.nrpn, channel), 0, step=step)
        return True, self._decode_half("nrpn", state.nrpn, channel, value, number == DATA_ENTRY_FINE)

    def _decode_half(self, kind: str, number: int, channel: int, value: int, is_fine: bool) -> ControlEvent | None:
        pair = self._channels[channel - 1].pairs.setdefault((kind, number), _FinePair())
        complete = pair.receive(value, is_fine)
        return ControlEvent(Control(kind, number, channel), *complete) if complete else None


# Feedback

def encode(control: Control, raw: int) -> list[bytes]:
    """Return the messages that set a control to `raw`; none for a kind that cannot receive feedback."""
    channel, number = control.channel - 1, control.number or 0
    match control.kind:
        case "cc":
            return _control_changes(channel, (number, raw))
        case "cc14":
            return _control_changes(channel, (number, raw >> 7), (number + FINE_OFFSET, raw & MAX_7_BIT))
        case "nrpn":
            return _control_changes(
                channel, (NRPN, number >> 7), (NRPN_FINE, number & MAX_7_BIT),
                (DATA_ENTRY, raw >> 7), (DATA_ENTRY_FINE, raw & MAX_7_BIT))
        case "note":
            return [_message("note_on", channel=channel, note=number, velocity=raw)]
        case "pitchbend":
            return [_message("pitchwheel", channel=channel, pitch=raw - PITCH_CENTRE)]
    return []


def full_scale(kind: str) -> int:
    """Return the highest raw value of a kind of control."""
    return MAX_14_BIT if kind in ("cc14", "nrpn", "pitchbend") else MAX_7_BIT


def _message(kind: str, **content: Any) -> bytes:
    from mido import Message

    return bytes(Message(kind, **content).bin())


def _control_changes(channel: int, *pairs: tuple[int, int]) -> list[bytes]:
    return [_message("control_change", channel=channel, control=number, value=value) for number, value in pairs]
