"""MIDI messages: mido's, read into `Event`s, and the bytes of feedback. Numbers are those of MIDI 1.0.

A 14-bit control (`cc14: 1`) sends its coarse half as CC 1 and its fine half as CC 33. An NRPN is chosen by CC 99 and 98
and moved by CC 6 (coarse), CC 38 (fine), CC 96 (up) and CC 97 (down). Who never sends a fine half is read as 7 bits, so
that its end is the end; who does moves with the fine half, which follows its coarse one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mido import Message

SEVEN, FOURTEEN = 127, 16383  # full scale of one data byte, of two
FINE = 32  # from a coarse CC to its fine one
ENTRY, ENTRY_FINE, UP, DOWN, NRPN_FINE, NRPN, RPN_FINE, RPN = 6, 38, 96, 97, 98, 99, 100, 101
NOTHING = 16383  # the NRPN that switches data entry off
CENTRE = 8192  # mido counts pitch bend from its middle


def parse(data: Sequence[int]) -> Message | None:
    """The message of some bytes; None where they are none. mido is loaded for the first: `check` needs none."""
    from mido import Message

    try:
        return Message.from_bytes(data)
    except (ValueError, IndexError):  # IndexError: mido 1.3.3 on half a pitch bend
        return None


@dataclass(frozen=True)
class Control:
    """One knob, key or fader of a device. number: None where the message has none. channel: 1 to 16."""

    kind: str
    number: int | None
    channel: int

    def __str__(self) -> str:
        return f"{self.kind} {self.number}" if self.number is not None else self.kind


@dataclass(frozen=True)
class Event:
    """A control moved to `raw` of `top`; `step` where it only said up or down."""

    control: Control
    raw: int
    top: int = SEVEN
    step: int = 0

    @property
    def position(self) -> float:
        """From 0 to 1."""
        return self.raw / self.top

    @property
    def pressed(self) -> bool:
        """As a button: a key that is down, any program, anything else in its upper half."""
        return self.raw > 0 if self.control.kind == "note" else self.control.kind == "program" or self.position >= 0.5


@dataclass
class _Pair:
    """The two halves of a 14-bit value."""

    coarse: int = 0
    has_fine: bool = False

    def take(self, value: int, is_fine: bool) -> tuple[int, int] | None:
        """(raw, full scale) once it is known."""
        if is_fine:
            self.has_fine = True
            return self.coarse << 7 | value, FOURTEEN
        self.coarse = value
        return None if self.has_fine else (value, SEVEN)


@dataclass
class _Channel:
    pairs: dict[tuple[str, int], _Pair] = field(default_factory=dict)
    coarse: int = 127  # of the chosen NRPN
    fine: int = 127

    @property
    def nrpn(self) -> int:
        return self.coarse << 7 | self.fine


class Decoder:
    """Reads one device. `fine`: the CCs that are the coarse half of a 14-bit control. nrpn: whether there are any."""

    def __init__(self, fine: Collection[int] = (), nrpn: bool = False) -> None:
        self._fine, self._nrpn = frozenset(fine), nrpn
        self._channels = [_Channel() for _ in range(16)]

    def decode(self, message: Message) -> Event | None:
        """The event of a message; None for one that moves nothing (clock, sysex, half of a pair)."""
        reader = _READERS.get(message.type)
        return reader(self, message.channel + 1, message) if reader else None

    def _cc(self, channel: int, message: Message) -> Event | None:
        number, value = message.control, message.value
        if self._nrpn and number in _DATA:
            taken, event = self._data(channel, number, value)
            if taken:
                return event
        if number in self._fine or number - FINE in self._fine:
            is_fine = number not in self._fine
            return self._half("cc14", number - FINE * is_fine, channel, value, is_fine)
        return Event(Control("cc", number, channel), value)

    def _data(self, channel: int, number: int, value: int) -> tuple[bool, Event | None]:
        """Whether a CC belonged to an NRPN, and the event it makes."""
        state = self._channels[channel - 1]
        if number in (RPN, RPN_FINE):
            state.coarse = state.fine = 127
            return True, None
        if number in (NRPN, NRPN_FINE):
            setattr(state, "coarse" if number == NRPN else "fine", value)
            return True, None
        if state.nrpn == NOTHING:
            return False, None  # an ordinary CC 6
        if number in (UP, DOWN):
            return True, Event(Control("nrpn", state.nrpn, channel), 0, step=1 if number == UP else -1)
        return True, self._half("nrpn", state.nrpn, channel, value, number == ENTRY_FINE)

    def _half(self, kind: str, number: int, channel: int, value: int, is_fine: bool) -> Event | None:
        pair = self._channels[channel - 1].pairs.setdefault((kind, number), _Pair())
        known = pair.take(value, is_fine)
        return Event(Control(kind, number, channel), *known) if known else None


_DATA = frozenset({ENTRY, ENTRY_FINE, UP, DOWN, NRPN_FINE, NRPN, RPN_FINE, RPN})
_READERS: Mapping[str, Callable[[Decoder, int, Message], Event | None]] = {
    "note_off": lambda _, channel, one: Event(Control("note", one.note, channel), 0),
    "note_on": lambda _, channel, one: Event(Control("note", one.note, channel), one.velocity),
    "polytouch": lambda _, channel, one: Event(Control("aftertouch", one.note, channel), one.value),
    "aftertouch": lambda _, channel, one: Event(Control("aftertouch", None, channel), one.value),
    "program_change": lambda _, channel, one: Event(Control("program", one.program, channel), one.program),
    "pitchwheel": lambda _, channel, one: Event(Control("pitchbend", None, channel), one.pitch + CENTRE, FOURTEEN),
    "control_change": Decoder._cc,
}


# The other way

def encode(control: Control, raw: int) -> list[bytes]:
    """The messages that put a control to `raw`; none for a kind that cannot be told."""
    writer = _WRITERS.get(control.kind)
    return writer(control.channel - 1, control.number or 0, raw) if writer else []


def full_scale(kind: str) -> int:
    """The highest raw value of a kind of control."""
    return FOURTEEN if kind in ("cc14", "nrpn", "pitchbend") else SEVEN


def _bytes(kind: str, **content: Any) -> bytes:
    from mido import Message

    return bytes(Message(kind, **content).bin())


def _ccs(channel: int, *pairs: tuple[int, int]) -> list[bytes]:
    return [_bytes("control_change", channel=channel, control=number, value=value) for number, value in pairs]


_WRITERS: Mapping[str, Callable[[int, int, int], list[bytes]]] = {
    "cc": lambda channel, number, raw: _ccs(channel, (number, raw)),
    "cc14": lambda channel, number, raw: _ccs(channel, (number, raw >> 7), (number + FINE, raw & SEVEN)),
    "nrpn": lambda channel, number, raw: _ccs(
        channel, (NRPN, number >> 7), (NRPN_FINE, number & SEVEN), (ENTRY, raw >> 7), (ENTRY_FINE, raw & SEVEN)),
    "note": lambda channel, number, raw: [_bytes("note_on", channel=channel, note=number, velocity=raw)],
    "pitchbend": lambda channel, number, raw: [_bytes("pitchwheel", channel=channel, pitch=raw - CENTRE)],
}
