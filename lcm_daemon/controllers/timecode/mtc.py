"""MTC, MIDI timecode: reads quarter frames and full frames. Numbers are of MIDI Time Code (MMA RP-004/008).

Eight quarter frames carry one timecode, and last two frames; they come in the order 0 to 7, or 7 to 0 where the
sender runs backwards. A full frame says where a sender has gone without running.
"""

from __future__ import annotations

from collections.abc import Sequence

from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport

RATES = (FrameRate(24), FrameRate(25), FrameRate(30, drop=True), FrameRate(30))  # by their number in MTC
PIECES = 8  # quarter frames of one timecode
FULL_FRAME = (0x7F, 0x01, 0x01)  # of a universal real-time message: ID, then (device), sub-IDs 1 and 2


class MtcReader:
    """Reads the timecode of one MIDI input.

    Args:
        origin: What the reports name as their sender.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._pieces: list[int] = []  # of the present series, from 0 on

    def on_quarter_frame(self, piece: int, value: int, time: float) -> TimecodeReport | None:
        """Take a quarter frame. Returns a report with the last one of a series.

        Args:
            piece: Which one of the series, 0 to 7.
            value: Its four bits.
            time: When it has arrived, in seconds of perf_counter.
        """
        if piece == 0:
            self._pieces = [value]
            return None
        if piece != len(self._pieces):  # one is missing, or the sender runs backwards
            self._pieces = []
            return None
        self._pieces.append(value)
        if piece < PIECES - 1:
            return None
        pieces, self._pieces = self._pieces, []
        low, high = pieces[::2], pieces[1::2]
        frames, seconds, minutes, hours = (one | other << 4 for one, other in zip(low, high, strict=True))
        read = _valid(Timecode(hours & 0x1F, minutes & 0x3F, seconds & 0x3F, frames & 0x1F), RATES[high[3] >> 1 & 3])
        if read is None:
            return None
        timecode, rate = read
        # the timecode is that of the first piece; the last one comes 7 quarters of a frame later
        frame = rate.index(timecode) + (PIECES - 1) / 4.0
        return TimecodeReport(frame % rate.day, time, rate, self._origin)

    def on_sysex(self, data: Sequence[int], time: float) -> TimecodeReport | None:
        """Take a system exclusive message without its first and last byte. Returns a report if it is a full frame."""
        if len(data) != 8 or (data[0], data[2], data[3]) != FULL_FRAME:
            return None
        self._pieces = []
        hours, minutes, seconds, frames = data[4:8]
        read = _valid(Timecode(hours & 0x1F, minutes, seconds, frames), RATES[hours >> 5 & 3])
        if read is None:
            return None
        timecode, rate = read
        return TimecodeReport(float(rate.index(timecode)), time, rate, self._origin, running=False)


def _valid(timecode: Timecode, rate: FrameRate) -> tuple[Timecode, FrameRate] | None:
    """The same, or None for a time that does not exist: bits were lost on the way."""
    is_time = timecode.hours < 24 and timecode.minutes < 60 and timecode.seconds < 60
    return (timecode, rate) if is_time and timecode.frames < rate.nominal else None
