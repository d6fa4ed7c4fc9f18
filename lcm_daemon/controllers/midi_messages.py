"""MIDI messages: bytes in, `Event`s out, and the bytes of feedback. Numbers are those of the MIDI 1.0 specification.

A 14-bit control (`cc14: 1`) sends its coarse half as CC 1 and its fine half as CC 33. An NRPN is chosen by CC 99 and 98
and moved by CC 6 (coarse), CC 38 (fine), CC 96 (up) and CC 97 (down). Who never sends a fine half is read as 7 bits, so
that its end is the end; who does moves with the fine half, which follows its coarse one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

SEVEN, FOURTEEN = 127, 16383  # full scale of one data byte, of two
FINE = 32  # from a coarse CC to its fine one
ENTRY, ENTRY_FINE, UP, DOWN, NRPN_FINE, NRPN, RPN_FINE, RPN = 6, 38, 96, 97, 98, 99, 100, 101
NOTHING = 16383  # the NRPN that switches data entry off

CLOCK, START, CONTINUE, STOP = 0xF8, 0xFA, 0xFB, 0xFC
SONG_POSITION = 0xF2


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

    def decode(self, message: Sequence[int]) -> Event | None:
        """The event of one whole message; None for one that moves nothing (clock, sysex, half of a pair)."""
        reader = _READERS.get(message[0] & 0xF0) if message else None
        if reader is None or len(message) < _LENGTHS.get(message[0] & 0xF0, 3):
            return None
        return reader(self, (message[0] & 0x0F) + 1, message[1] & SEVEN, message[-1] & SEVEN)

    def _note_off(self, channel: int, note: int, velocity: int) -> Event | None:
        return Event(Control("note", note, channel), 0)

    def _note_on(self, channel: int, note: int, velocity: int) -> Event | None:
        return Event(Control("note", note, channel), velocity)

    def _key_pressure(self, channel: int, note: int, pressure: int) -> Event | None:
        return Event(Control("aftertouch", note, channel), pressure)

    def _pressure(self, channel: int, pressure: int, _: int) -> Event | None:
        return Event(Control("aftertouch", None, channel), pressure)

    def _program(self, channel: int, number: int, _: int) -> Event | None:
        return Event(Control("program", number, channel), number)

    def _pitchbend(self, channel: int, fine: int, coarse: int) -> Event | None:
        return Event(Control("pitchbend", None, channel), coarse << 7 | fine, FOURTEEN)

    def _cc(self, channel: int, number: int, value: int) -> Event | None:
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
_LENGTHS: Mapping[int, int] = {0xC0: 2, 0xD0: 2}
_READERS: Mapping[int, Callable[[Decoder, int, int, int], Event | None]] = {
    0x80: Decoder._note_off, 0x90: Decoder._note_on, 0xA0: Decoder._key_pressure, 0xB0: Decoder._cc,
    0xC0: Decoder._program, 0xD0: Decoder._pressure, 0xE0: Decoder._pitchbend,
}


# The other way

def encode(control: Control, raw: int) -> list[bytes]:
    """The messages that put a control to `raw`; none for a kind that cannot be told."""
    writer = _WRITERS.get(control.kind)
    return writer(control.channel - 1, control.number or 0, raw) if writer else []


def full_scale(kind: str) -> int:
    """The highest raw value of a kind of control."""
    return FOURTEEN if kind in ("cc14", "nrpn", "pitchbend") else SEVEN


def _cc14(channel: int, number: int, raw: int) -> list[bytes]:
    status = 0xB0 | channel
    return [bytes((status, number, raw >> 7)), bytes((status, number + FINE, raw & SEVEN))]


def _nrpn(channel: int, number: int, raw: int) -> list[bytes]:
    halves = ((NRPN, number >> 7), (NRPN_FINE, number & SEVEN), (ENTRY, raw >> 7), (ENTRY_FINE, raw & SEVEN))
    return [bytes((0xB0 | channel, cc, value)) for cc, value in halves]


_WRITERS: Mapping[str, Callable[[int, int, int], list[bytes]]] = {
    "cc": lambda channel, number, raw: [bytes((0xB0 | channel, number, raw))],
    "note": lambda channel, number, raw: [bytes((0x90 | channel, number, raw))],
    "pitchbend": lambda channel, number, raw: [bytes((0xE0 | channel, raw & SEVEN, raw >> 7))],
    "cc14": _cc14,
    "nrpn": _nrpn,
}
