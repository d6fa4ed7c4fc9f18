"""Where the controls of MIDI devices are: for the sheets of their maps (midi_sheet.py).

Channels and numbers are those of the ready maps, `controllers/midi/maps`, whose comments name the makers' documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Shape = Literal["knob", "fader", "button", "pad"]


@dataclass(frozen=True)
class Row:
    """Controls side by side.

    Attributes:
        name: What the device or its maker calls them.
        shape: How they look.
        kind: "cc" or "note".
        numbers: Their numbers, from left to right.
        channels: The channel of each, counted from 1; one channel is that of all.
    """

    name: str
    shape: Shape
    kind: str
    numbers: tuple[int, ...]
    channels: tuple[int, ...] = (1,)

    def controls(self) -> list[tuple[str, int, int]]:
        """Kind, number and channel of each control."""
        channels = self.channels if len(self.channels) > 1 else self.channels * len(self.numbers)
        return [(self.kind, number, channel) for number, channel in zip(self.numbers, channels, strict=True)]


def _span(first: int, count: int = 8) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def _every(third: Iterable[int], more: int) -> tuple[int, ...]:
    return tuple(number + more for number in third)


_MIX_KNOBS = (16, 20, 24, 28, 46, 50, 54, 58)  # the first of each column; the two below it have the next numbers
_MIX_MUTES = tuple(range(1, 23, 3))
_TRACKS = _span(1)

TITLES: Mapping[str, str] = {
    "nanokontrol2": "Korg nanoKONTROL2", "midimix": "Akai MIDImix", "launch_control_xl": "Novation Launch Control XL",
    "x_touch_mini": "Behringer X-Touch Mini", "apc40_mk2": "Akai APC40 mk2",
}
LAYOUTS: Mapping[str, tuple[Row, ...]] = {
    "nanokontrol2": (
        Row("knobs", "knob", "cc", _span(16)), Row("S", "button", "cc", _span(32)), Row("M", "button", "cc", _span(48)),
        Row("R", "button", "cc", _span(64)), Row("sliders", "fader", "cc", _span(0)),
        Row("rewind, forward, stop, play, rec, cycle", "button", "cc", (43, 44, 42, 41, 45, 46)),
        Row("track < >, marker set < >", "button", "cc", (58, 59, 60, 61, 62)),
    ),
    "midimix": (
        Row("knobs 1", "knob", "cc", _MIX_KNOBS), Row("knobs 2", "knob", "cc", _every(_MIX_KNOBS, 1)),
        Row("knobs 3", "knob", "cc", _every(_MIX_KNOBS, 2)), Row("mute", "button", "note", _MIX_MUTES),
        Row("rec arm", "button", "note", _every(_MIX_MUTES, 2)),
        Row("faders", "fader", "cc", (19, 23, 27, 31, 49, 53, 57, 61)), Row("master", "fader", "cc", (62,)),
        Row("bank < >, solo", "button", "note", (25, 26, 27)),
    ),
    "launch_control_xl": (
        Row("send A", "knob", "cc", _span(13), (9,)), Row("send B", "knob", "cc", _span(29), (9,)),
        Row("pan", "knob", "cc", _span(49), (9,)), Row("faders", "fader", "cc", _span(77), (9,)),
        Row("track focus", "button", "note", (41, 42, 43, 44, 57, 58, 59, 60), (9,)),
        Row("track control", "button", "note", (73, 74, 75, 76, 89, 90, 91, 92), (9,)),
        Row("device, mute, solo, record arm", "button", "note", (105, 106, 107, 108), (9,)),
        Row("arrows", "button", "cc", (104, 105, 106, 107), (9,)),
    ),
    "x_touch_mini": (
        Row("encoders, layer A", "knob", "cc", _span(1), (11,)),
        Row("encoders pushed", "button", "note", _span(0), (11,)),
        Row("buttons 1", "button", "note", _span(8), (11,)), Row("buttons 2", "button", "note", _span(16), (11,)),
        Row("fader", "fader", "cc", (9,), (11,)),
    ),
    "apc40_mk2": (
        Row("track knobs", "knob", "cc", _span(48)),
        *(Row(f"clips {5 - row}", "pad", "note", _span(8 * row)) for row in range(4, -1, -1)),
        Row("clip stop", "button", "note", (52,) * 8, _TRACKS), Row("activator", "button", "note", (50,) * 8, _TRACKS),
        Row("solo", "button", "note", (49,) * 8, _TRACKS), Row("record arm", "button", "note", (48,) * 8, _TRACKS),
        Row("faders", "fader", "cc", (7,) * 8, _TRACKS), Row("device knobs", "knob", "cc", _span(16)),
        Row("scenes, stop all", "button", "note", (82, 83, 84, 85, 86, 81)),
        Row("master, crossfader", "fader", "cc", (14, 15)), Row("tempo, cue level", "knob", "cc", (13, 47)),
        Row("play, record", "button", "note", (91, 93)),
    ),
}
