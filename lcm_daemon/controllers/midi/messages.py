"""MIDI messages: reads those of mido into `ControlEvent`s, and builds the bytes of feedback. Numbers are of MIDI 1.0.

A 14-bit control (`cc14: 1`) sends its coarse half (MSB) as CC 1 and its fine half (LSB) as CC 33. An NRPN is selected
by CC 99 and 98, an RPN by CC 101 and 100; both are set by CC 6 (coarse), CC 38 (fine), CC 96 (increment) and CC 97
(decrement). fourteen_bit.py says how the halves make a value.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lcm_daemon.controllers.midi.fourteen_bit import MAX_7_BIT, MAX_14_BIT, EndStop, HalfPair, RawValue

if TYPE_CHECKING:
    from mido import Message

FINE_OFFSET = 32  # from the number of a coarse CC to that of its fine one
DATA_ENTRY, DATA_ENTRY_FINE, DATA_INCREMENT, DATA_DECREMENT = 6, 38, 96, 97
NRPN_FINE, NRPN, RPN_FINE, RPN = 98, 99, 100, 101
NO_PARAMETER = 16383  # number that selects no NRPN and no RPN: data entry is off
SYSEX, REAL_TIME = 0xF0, 0x7F  # first byte of a system exclusive message; second one of a universal real-time one
LONGEST_SYSEX = 128  # bytes; the longest of MSC
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


def is_foreign_sysex(data: Sequence[int]) -> bool:
    """Whether the bytes are a system exclusive message that is not a short universal real-time one (MTC, MSC, MMC)."""
    return bool(data) and data[0] == SYSEX and not (1 < len(data) <= LONGEST_SYSEX and data[1] == REAL_TIME)


@dataclass(frozen=True)
class Control:
    """One knob, key or fader of a device.

    Attributes:
        kind: "cc", "cc14", "nrpn", "rpn", "note", "pitchbend", "aftertouch" or "program".
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
class _ChannelState:
    kind: str = "nrpn"  # of the selected parameter: "nrpn" or "rpn"
    coarse: int = 127  # of its number
    fine: int = 127
    pairs: dict[tuple[str, int], HalfPair] = field(default_factory=dict)

    @property
    def parameter(self) -> int:
        return self.coarse << 7 | self.fine

    def select(self, kind: str, value: int, is_coarse: bool) -> None:
        """Take one half of the number of an NRPN or RPN."""
        if kind != self.kind:
            self.kind, self.coarse, self.fine = kind, 127, 127
        if is_coarse:
            self.coarse = value
        else:
            self.fine = value


_SELECTIONS = {NRPN: ("nrpn", True), NRPN_FINE: ("nrpn", False), RPN: ("rpn", True), RPN_FINE: ("rpn", False)}


class MessageDecoder:
    """Decodes the messages of one port.

    Args:
        coarse: The CCs that are the coarse half of a 14-bit control.
        nrpn: Whether the device has NRPNs; else their CCs are ordinary ones.
        rpn: The same for RPNs.
    """

    def __init__(self, coarse: Collection[int] = (), nrpn: bool = False, rpn: bool = False) -> None:
        self._coarse = frozenset(coarse)
        self._kinds = {kind for kind, is_used in (("nrpn", nrpn), ("rpn", rpn)) if is_used}
        self._channels = [_ChannelState() for _ in range(16)]
        self._waiting: dict[Control, HalfPair] = {}  # controls with a half that waits for the other one
        self._end_stops: dict[Control, EndStop] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether half of a value waits for the other half: call `flush` after `fourteen_bit.HOLD` seconds."""
        return bool(self._waiting)

    def flush(self, now: float) -> list[ControlEvent]:
        """Return the events of halves that have waited long enough at `now`."""
        events = []
        for control, pair in list(self._waiting.items()):
            value = pair.flush(now)
            if not pair.is_waiting:
                del self._waiting[control]
            if value is not None:
                events.append(self._event(control, value))
        return events

    def decode(self, message: Message, now: float = 0.0) -> ControlEvent | None:
        """Decode a message; return None if it moves nothing (clock, sysex, half of a pair).

        Args:
            message: The message.
            now: When it arrived, in seconds.
        """
        match message.type:
            case "control_change":
                return self._decode_cc(message.channel + 1, message.control, message.value, now)
            case "note_on":
                return ControlEvent(Control("note", message.note, message.channel + 1), message.velocity)
            case "note_off":
                return ControlEvent(Control("note", message.note, message.channel + 1), 0)
            case "pitchwheel":
                raw = message.pitch + PITCH_CENTRE
                return self._event(Control("pitchbend", None, message.channel + 1), (raw, MAX_14_BIT))
            case "program_change":
                return ControlEvent(Control("program", message.program, message.channel + 1), message.program)
            case "aftertouch":
                return ControlEvent(Control("aftertouch", None, message.channel + 1), message.value)
            case "polytouch":
                return ControlEvent(Control("aftertouch", message.note, message.channel + 1), message.value)
        return None

    def _decode_cc(self, channel: int, number: int, value: int, now: float) -> ControlEvent | None:
        if self._kinds and number in _DATA_CONTROLS:
            is_data, event = self._decode_data(channel, number, value, now)
            if is_data:
                return event
        if number in self._coarse:
            return self._decode_half(Control("cc14", number, channel), value, False, now)
        if number - FINE_OFFSET in self._coarse:
            return self._decode_half(Control("cc14", number - FINE_OFFSET, channel), value, True, now)
        return ControlEvent(Control("cc", number, channel), value)

    def _decode_data(self, channel: int, number: int, value: int, now: float) -> tuple[bool, ControlEvent | None]:
        """Whether a CC belongs to an NRPN or RPN, and its event, if it has one."""
        state = self._channels[channel - 1]
        if number in _SELECTIONS:
            kind, is_coarse = _SELECTIONS[number]
            state.select(kind, value, is_coarse)
            return True, None
        if state.parameter == NO_PARAMETER or state.kind not in self._kinds:
            return False, None  # an ordinary CC
        control = Control(state.kind, state.parameter, channel)
        if number in (DATA_INCREMENT, DATA_DECREMENT):
            return True, ControlEvent(control, 0, step=1 if number == DATA_INCREMENT else -1)
        return True, self._decode_half(control, value, number == DATA_ENTRY_FINE, now)

    def _decode_half(self, control: Control, value: int, is_fine: bool, now: float) -> ControlEvent | None:
        assert control.number is not None
        pairs = self._channels[control.channel - 1].pairs
        pair = pairs.setdefault((control.kind, control.number), HalfPair())
        complete = pair.receive(value, is_fine, now)
        self._waiting.pop(control, None)
        if pair.is_waiting:
            self._waiting[control] = pair
        return self._event(control, complete) if complete else None

    def _event(self, control: Control, value: RawValue) -> ControlEvent:
        raw, top = value
        if top == MAX_14_BIT:
            top = self._end_stops.setdefault(control, EndStop()).full_scale(raw)
        return ControlEvent(control, raw, top)


# Feedback

def encode(control: Control, raw: int) -> list[bytes]:
    """Return the messages that set a control to `raw`; none for a kind that cannot receive feedback."""
    channel, number = control.channel - 1, control.number or 0
    match control.kind:
        case "cc":
            return _control_changes(channel, (number, raw))
        case "cc14":
            return _control_changes(channel, (number, raw >> 7), (number + FINE_OFFSET, raw & MAX_7_BIT))
        case "nrpn" | "rpn":
            coarse, fine = (NRPN, NRPN_FINE) if control.kind == "nrpn" else (RPN, RPN_FINE)
            return _control_changes(
                channel, (coarse, number >> 7), (fine, number & MAX_7_BIT),
                (DATA_ENTRY, raw >> 7), (DATA_ENTRY_FINE, raw & MAX_7_BIT))
        case "note":
            return [_message("note_on", channel=channel, note=number, velocity=raw)]
        case "pitchbend":
            return [_message("pitchwheel", channel=channel, pitch=raw - PITCH_CENTRE)]
    return []


def full_scale(kind: str) -> int:
    """Return the highest raw value of a kind of control."""
    return MAX_14_BIT if kind in ("cc14", "nrpn", "rpn", "pitchbend") else MAX_7_BIT


def _message(kind: str, **content: Any) -> bytes:
    from mido import Message

    return bytes(Message(kind, **content).bin())


def _control_changes(channel: int, *pairs: tuple[int, int]) -> list[bytes]:
    return [_message("control_change", channel=channel, control=number, value=value) for number, value in pairs]
