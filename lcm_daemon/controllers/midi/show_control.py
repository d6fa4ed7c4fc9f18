"""MSC and MMC: commands of lighting desks, show controllers and sequencers as the show's commands.

MSC (MIDI Show Control 1.1, MMA RP-002): F0 7F <device> 02 <format> <command> <data> F7. Its data is the number of a
cue, as ASCII digits and points, which ends with 00 where a cue list and a path follow; they are not used.
MMC (MIDI Machine Control 1.0, MMA RP-013): F0 7F <device> 06 <commands> F7. Those from 40 to 77 are followed by the
count of their data and the data, such as LOCATE with a time; the others have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum

from lcm_daemon.controllers.midi.options import FORMATS
from lcm_daemon.core.parameters import Value

Requests = Sequence[tuple[str, tuple[Value, ...]]]  # commands with their arguments
NOTHING: Requests = ()

ALL = 0x7F  # device or format: everything that listens
MSC, MMC = 0x02, 0x06  # sub-IDs
_WITH_DATA = range(0x40, 0x78)  # commands of MMC that have data
_TIME_BYTES = 5  # hours, minutes, seconds, frames, fractions
_FRAMES = (24.0, 25.0, 30000 / 1001, 30.0)  # frames a second, by the number in the hours byte
_CUE = re.compile(r"[0-9.]{1,32}")


class Msc(IntEnum):
    """Commands of MSC that are carried out."""

    GO = 0x01
    STOP = 0x02
    RESUME = 0x03
    TIMED_GO = 0x04
    LOAD = 0x05
    RESET = 0x0A


class Mmc(IntEnum):
    """Commands of MMC that are carried out."""

    STOP = 0x01
    PLAY = 0x02
    DEFERRED_PLAY = 0x03
    RECORD_STROBE = 0x06
    RECORD_EXIT = 0x07
    PAUSE = 0x09


class ShowControl:
    """Reads MSC for one device. Messages for other devices and formats do nothing.

    Args:
        device: Its number, 0 to 126; None for every message.
        format_: Key of FORMATS.
    """

    def __init__(self, device: int | None, format_: str) -> None:
        self._device, self._formats = device, FORMATS[format_]

    def read(self, data: Sequence[int]) -> Requests:
        """What a system exclusive message asks for. data: Its bytes without the first (F0) and the last one (F7)."""
        if len(data) < 5 or data[0] != 0x7F or data[2] != MSC or not _is_for(self._device, data[1]):
            return NOTHING
        if data[3] != ALL and data[3] not in self._formats:
            return NOTHING
        command, rest = data[4], bytes(data[5:])
        match command:
            case Msc.GO:
                return _go(rest)
            case Msc.TIMED_GO if len(rest) >= _TIME_BYTES:
                return _go(rest[_TIME_BYTES:], _seconds(rest))
            case Msc.STOP:
                return [("cue/pause", ())]
            case Msc.RESUME:
                return [("cue/resume", ())]
            case Msc.LOAD if cue := _cue(rest):
                return [("cue/load", (cue,))]
            case Msc.RESET:  # it ends all cues, and returns to the state of the start
                return [("panic", ()), ("cue/release", ())]
        return NOTHING


class MachineControl:
    """Reads MMC for one device.

    Args:
        device: Its number, 0 to 126; None for every message.
    """

    def __init__(self, device: int | None) -> None:
        self._device = device
        self._has_paused = False

    def read(self, data: Sequence[int], is_paused: bool) -> Requests:
        """What a system exclusive message asks for.

        Args:
            data: Its bytes without the first (F0) and the last one (F7).
            is_paused: Whether the cue list is paused, as far as it is known: the status may be half a second old.
        """
        if len(data) < 4 or data[0] != 0x7F or data[2] != MMC or not _is_for(self._device, data[1]):
            return NOTHING
        found: list[tuple[str, tuple[Value, ...]]] = []
        for command in _commands(data[3:]):
            found += self._carry_out(command, is_paused)
        return found

    def _carry_out(self, command: int, is_paused: bool) -> Requests:
        paused = is_paused or self._has_paused
        if command in (Mmc.PLAY, Mmc.DEFERRED_PLAY, Mmc.STOP, Mmc.PAUSE):
            self._has_paused = command == Mmc.PAUSE
        match command:
            case Mmc.PLAY | Mmc.DEFERRED_PLAY:
                return [("cue/resume" if paused else "cue/go", ())]
            case Mmc.STOP:
                return [("cue/stop", ())]
            case Mmc.PAUSE:
                return [("cue/pause", ())]
            case Mmc.RECORD_STROBE:
                return [("record/start", ())]
            case Mmc.RECORD_EXIT:
                return [("record/stop", ())]
        return NOTHING


def _commands(data: Sequence[int]) -> list[int]:
    """The commands of an MMC message, one after another, without their data."""
    found, place = list[int](), 0
    while place < len(data):
        found.append(data[place])
        has_data = data[place] in _WITH_DATA and place + 1 < len(data)
        place += 2 + data[place + 1] if has_data else 1
    return found


def _is_for(device: int | None, addressed: int) -> bool:
    return device is None or addressed in (device, ALL)


def _go(rest: bytes, fade: float | None = None) -> Requests:
    """GO to the cue that `rest` names, else to the next one. fade: In seconds, in place of the cue's own."""
    cue = _cue(rest)
    fades = () if fade is None else (fade,)
    if rest and not cue and rest[0]:
        return NOTHING  # what should be a number is none
    return [("cue/goto", (cue, *fades))] if cue else [("cue/go", fades)]


def _cue(rest: bytes) -> str:
    """The number of a cue; "" for none."""
    text = rest.partition(b"\0")[0].decode("ascii", "replace")
    return text if _CUE.fullmatch(text) else ""


def _seconds(time: bytes) -> float:
    hours, minutes, seconds, frames, hundredths = time[:_TIME_BYTES]
    rate = _FRAMES[hours >> 5 & 3]
    whole = (hours & 0x1F) * 3600 + (minutes & 0x3F) * 60 + (seconds & 0x3F)
    return round(whole + ((frames & 0x1F) + (hundredths & 0x7F) / 100.0) / rate, 3)
