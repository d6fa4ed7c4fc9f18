"""Which cue a timecode asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.automation.timecode_schedule import TimecodeSchedule, timecode_status
from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport

PAL = FrameRate(25)
TIMES = [("intro", "00:00:10:00"), ("drop", "00:00:20:00"), ("end", "00:00:30:00")]


def at(seconds: float, running: bool = True) -> TimecodeReport:
    """A timecode that is there at second 0 of the clock."""
    return TimecodeReport(seconds * 25, 0.0, PAL, "midi/DAW", running)


class Rig:
    def __init__(self, times: Sequence[tuple[str, str]] = TIMES, current: str = "") -> None:
        self.schedule, self.times, self.current = TimecodeSchedule(), times, current

    def due(self, report: TimecodeReport, now: float = 0.0) -> str:
        name = self.schedule.due(report, now, self.times, self.current)
        self.current = name or self.current
        return name


def test_a_cue_starts_at_its_frame_and_once() -> None:
    one, report = Rig(), at(0)
    started = [(frame, name) for frame in range(25 * 40) if (name := one.due(report, frame / 25))]
    assert started == [(250, "intro"), (500, "drop"), (750, "end")]


def test_a_timecode_that_starts_in_the_middle_brings_the_right_cue() -> None:
    one = Rig()
    assert one.due(at(25)) == "drop"
    assert one.due(at(35)) == "end"
    assert one.due(at(12)) == "intro"
    assert one.due(at(5)) == ""
    assert one.due(at(10)) == "intro"


def test_a_jump_back_starts_the_cue_again_and_a_correction_does_not() -> None:
    one = Rig()
    assert one.due(at(25)) == "drop"
    assert one.due(at(24.8)) == ""
    assert one.due(at(21)) == "drop"
    assert one.due(at(29)) == ""


def test_a_pause_starts_no_cue_again() -> None:
    """A timecode that stops has run on for half a second, so that the next frames are behind."""
    one, report = Rig(), at(19.8)
    assert one.due(report) == "intro"
    assert one.due(report, 0.5) == "drop"
    assert one.due(at(19.8, running=False), 1.0) == ""
    again = [one.due(replace(at(19.8), time=9.0), 9.0 + frame / 25) for frame in range(250)]
    assert again == [""] * 250


def test_while_it_does_not_run_no_cue_starts() -> None:
    one = Rig()
    assert one.due(at(25, running=False)) == ""
    assert one.due(at(25)) == "drop"


def test_after_a_restart_the_cue_that_plays_is_not_started_again() -> None:
    one = Rig(current="drop")
    assert one.due(at(25)) == ""
    assert one.due(at(30)) == "end"


def test_of_two_cues_at_one_time_the_later_one_of_the_list_counts() -> None:
    assert Rig([("a", "00:00:10:00"), ("b", "00:00:10:00")]).due(at(10)) == "b"


def test_midnight_is_not_a_jump_back() -> None:
    one = Rig([("late", "23:59:50:00"), ("early", "00:00:00:10")])
    assert one.due(at(86_395)) == "late"
    assert one.due(at(86_395), 5.2) == ""
    assert one.due(at(86_395), 5.5) == "early"


def test_other_rates_and_cues_that_change() -> None:
    one = Rig()
    assert one.due(replace(at(0), frame=30 * 20.0, rate=FrameRate(30))) == "drop"
    assert one.due(replace(at(0), frame=30 * 21.0, rate=FrameRate(30, drop=True))) == ""
    one.times = [*TIMES, ("new", "00:00:15:00")]
    assert one.due(at(16)) == "new"
    assert not Rig([]).due(at(16))


def test_the_status_says_where_it_is() -> None:
    assert timecode_status(None, 0.0) == {}
    assert timecode_status(at(70.04), 0.0) == {"timecode": "00:01:10:01"}
    assert timecode_status(at(70, running=False), 9.0) == {"timecode": "00:01:10:00, stopped"}


def test_the_cue_list_starts_cues_at_a_timecode_and_at_a_time_of_day() -> None:
    cues = CueList([Cue("intro", at="00:00:10:00"), Cue("noon", at="12:00"), Cue("slow", at="00:00:20:00", delay=1.0)])
    assert [cue.time_of_day for cue in cues.cues] == ["", "12:00", ""]
    assert cues.update(0.0, None, at(5)) is None
    started = cues.update(5.0, None, at(5))
    assert started is not None
    assert started.name == "intro"
    assert cues.update(15.0, None, at(5)) is None
    assert cues.pending == "slow"
    assert str(Timecode.parse("1:00:10:00")) == "01:00:10:00"


@pytest.mark.parametrize("current", ["", "intro"])
def test_a_cue_that_was_requested_counts_as_the_one_that_plays(current: str) -> None:
    cues = CueList([Cue("intro", at="00:00:10:00")])
    if current:
        cues.start(cues.cues[0], 0.0)
    found = cues.update(1.0, None, at(15))
    assert (found is None) == bool(current)
