"""MTC: quarter frames, full frames, and what is lost on the way."""

from __future__ import annotations

import pytest
from mido import Message

from lcm_daemon.controllers.timecode.mtc import RATES, MtcReader
from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport

PAL = FrameRate(25)
NUMBERS = {FrameRate(24): 0, FrameRate(25): 1, FrameRate(30, True): 2, FrameRate(30): 3}


def quarter_frames(timecode: Timecode, rate: FrameRate = PAL) -> list[tuple[int, int]]:
    """The pieces of a timecode, through mido's bytes."""
    values = []
    for number in (timecode.frames, timecode.seconds, timecode.minutes, timecode.hours):
        values += [number & 15, number >> 4]
    values[7] |= NUMBERS[rate] << 1
    messages = [Message.from_bytes(Message("quarter_frame", frame_type=piece, frame_value=value).bytes())
                for piece, value in enumerate(values)]
    return [(message.frame_type, message.frame_value) for message in messages]


def play(reader: MtcReader, pieces: list[tuple[int, int]]) -> list[TimecodeReport]:
    found = [reader.on_quarter_frame(piece, value, 5.0) for piece, value in pieces]
    return [report for report in found if report is not None]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("timecode", [Timecode(1, 2, 3, 4), Timecode(23, 59, 58, 22), Timecode(0, 0, 0, 0)])
def test_eight_quarter_frames_are_a_timecode(rate: FrameRate, timecode: Timecode) -> None:
    report, = play(MtcReader("midi/DAW"), quarter_frames(timecode, rate))
    assert report == TimecodeReport(rate.index(timecode) + 1.75, 5.0, rate, "midi/DAW")


def test_a_series_that_is_not_whole_says_nothing() -> None:
    reader, pieces = MtcReader("midi/DAW"), quarter_frames(Timecode(1, 0, 10, 0))
    assert not play(reader, pieces[3:] + pieces[:5])  # the start was in the middle
    assert not play(reader, pieces[:3] + pieces[4:])
    assert not play(reader, pieces[::-1])  # backwards
    assert len(play(reader, pieces)) == 1


@pytest.mark.parametrize("timecode", [Timecode(24, 0, 0, 0), Timecode(0, 60, 0, 0), Timecode(0, 0, 61, 0),
                                      Timecode(0, 0, 0, 25)])
def test_a_time_that_does_not_exist_is_left_out(timecode: Timecode) -> None:
    assert not play(MtcReader("midi/DAW"), quarter_frames(timecode))


def test_a_full_frame_says_where_a_sender_has_gone() -> None:
    reader = MtcReader("midi/DAW")
    report = reader.on_sysex((0x7F, 0x7F, 1, 1, 0x21, 2, 3, 4), 5.0)
    assert report == TimecodeReport(float(FrameRate(25).index(Timecode(1, 2, 3, 4))), 5.0, FrameRate(25), "midi/DAW",
                                    running=False)
    for data in [(), (0x7F, 0x7F, 1, 1, 0x21, 2, 3), (0x7E, 0x7F, 1, 1, 1, 2, 3, 4),
                 (0x7F, 0x7F, 1, 1, 0x21, 2, 3, 25)]:
        assert reader.on_sysex(data, 5.0) is None
