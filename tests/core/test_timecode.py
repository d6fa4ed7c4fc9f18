"""Timecodes and their frames, and what the stage is told of them."""

from __future__ import annotations

import pytest

from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport
from lcm_daemon.core.timecode_input import AVERAGED, FREEWHEEL, TimecodeInput
from tests.conftest import ManualClock

RATES = [FrameRate(24), FrameRate(25), FrameRate(30), FrameRate(30, drop=True)]
PAL = FrameRate(25)


@pytest.mark.parametrize("text", ["01:00:10:00", "1:00:10:00", "01:00:10;00", "01.00.10.00", " 01:00:10:00 "])
def test_timecodes_as_programs_write_them(text: str) -> None:
    assert str(Timecode.parse(text)) == "01:00:10:00"


@pytest.mark.parametrize("text", ["", "21:30", "24:00:00:00", "00:60:00:00", "00:00:00:30", "a", "01:00:10:00:00"])
def test_what_is_not_a_timecode(text: str) -> None:
    with pytest.raises(ValueError, match="is not a timecode"):
        Timecode.parse(text)


@pytest.mark.parametrize("rate", RATES)
def test_frames_and_timecodes_are_one_to_one(rate: FrameRate) -> None:
    for index in (*range(1750, 1900), *range(0, rate.day, 997), rate.day - 1):
        assert rate.index(rate.timecode(index)) == index
    assert rate.timecode(rate.day) == Timecode(0, 0, 0, 0)


def test_drop_frame_leaves_out_two_numbers_a_minute() -> None:
    rate = RATES[3]
    assert [str(rate.timecode(index)) for index in (1799, 1800, 17981, 17982)] == [
        "00:00:59:29", "00:01:00:02", "00:09:59:29", "00:10:00:00"]
    assert rate.index(Timecode(0, 1, 0, 0)) == 1800  # a number that does not exist: the next one
    assert rate.day / rate.per_second == pytest.approx(86_400, abs=0.1)  # NTSC: 86 ms a day


class Rig:
    """A timecode input with a clock of its own. published: what the stage is told."""

    def __init__(self, known: TimecodeReport | None = None) -> None:
        self.clock, self.published = ManualClock(), list[TimecodeReport]()
        self.input = TimecodeInput(self.published.append, self.clock.now)
        self.due: list[tuple[float, object]] = []
        self.input.start(lambda seconds, call: self.due.append((self.clock.now() + seconds, call)), known)

    def run(self, frames: int, start: float, late: float = 0.0, origin: str = "midi/DAW", step: float = 1.0) -> None:
        """Send frames at normal speed. late: Seconds by which they are late."""
        for number in range(frames):
            self.input.receive(TimecodeReport(start + number * step, self.clock.now() + late, PAL, origin))
            self.pause(step / 25)

    def pause(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        for entry in [each for each in self.due if each[0] <= self.clock.now()]:
            self.due.remove(entry)
            entry[1]()  # type: ignore[operator]

    def frame(self) -> float:
        return self.published[-1].frame_at(self.clock.now())


def test_a_timecode_that_runs_is_published_once() -> None:
    one = Rig()
    one.run(100, 1000.0)
    assert len(one.published) == 1
    assert one.frame() == pytest.approx(1100)


def test_a_timecode_that_stops_runs_on_for_a_moment() -> None:
    one = Rig()
    one.run(10, 1000.0)
    one.pause(FREEWHEEL - 0.1)
    assert one.published[-1].running
    one.run(10, 1020.0)  # ten frames were lost
    assert len(one.published) == 1
    for _ in range(20):
        one.pause(0.1)
    assert [report.running for report in one.published] == [True, False]
    assert one.frame() == 1029
    one.run(2, 1029.0)
    assert [report.running for report in one.published] == [True, False, True]


def test_two_frames_far_off_are_a_jump_and_one_is_not() -> None:
    one = Rig()
    one.run(10, 1000.0)
    one.run(1, 9000.0)
    one.run(10, 1011.0)
    assert len(one.published) == 1
    one.run(2, 500.0)
    assert len(one.published) == 2
    assert one.frame() == pytest.approx(502)


def test_drift_is_followed_and_single_delays_are_not() -> None:
    one = Rig()
    one.run(10, 1000.0)
    one.run(3, 1010.0, late=0.05)
    assert len(one.published) == 1
    one.run(2 * AVERAGED, 1013.0, late=0.03)
    assert len(one.published) == 2
    assert one.frame() == pytest.approx(1013 + 2 * AVERAGED - 0.03 * 25, abs=0.3)


def test_a_second_sender_waits_for_the_first_one_to_stop() -> None:
    one = Rig()
    one.run(10, 1000.0)
    one.input.receive(TimecodeReport(5.0, one.clock.now(), PAL, "audio"))
    one.input.receive(TimecodeReport(5.0, one.clock.now(), PAL, "audio", running=False))
    assert len(one.published) == 1
    for _ in range(12):
        one.pause(0.1)
    one.run(5, 5.0, origin="audio")
    assert one.published[-1].origin == "audio"


def test_a_locate_is_published_at_once() -> None:
    one = Rig()
    one.run(10, 1000.0)
    one.input.receive(TimecodeReport(250.0, one.clock.now(), PAL, "midi/DAW", running=False))
    one.run(3, 250.0)
    assert [(report.frame, report.running) for report in one.published] == [(1000, True), (250, False), (250, True)]


def test_another_desk_goes_on_where_the_one_before_was() -> None:
    known = TimecodeReport(1000.0, 999.0, PAL, "midi/DAW")  # a second ago
    one = Rig(known)
    one.run(20, 1025.0)
    assert not one.published
    silent = Rig(known)
    for _ in range(12):
        silent.pause(0.1)
    report, = silent.published
    assert not report.running


def test_midnight() -> None:
    one = Rig()
    one.run(50, PAL.day - 25.0)
    assert len(one.published) == 1
    assert one.frame() == pytest.approx(25)
