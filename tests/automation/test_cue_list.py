"""The cue list on a simulated clock, and the fades of its cues."""

from __future__ import annotations

from datetime import datetime

import pytest

from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.core.live_values import Blend, Parameters

DAWN, STORM, NIGHT = Cue("dawn", fade=4.0), Cue("storm", fade=2.0, delay=1.0, follow=5.0), Cue("night", at="22:00")


def begun(cues: CueList, now: float, clock: float | None = None) -> str:
    cue = cues.update(now, clock)
    return cue.name if cue else ""


def test_go_and_back_walk_along_the_list() -> None:
    cues = CueList([DAWN, STORM, NIGHT])
    cues.go(0.0)
    assert begun(cues, 0.0) == "dawn"
    cues.go(0.0)
    assert begun(cues, 0.5) == "", "storm has a delay"
    assert cues.pending == "storm"
    assert begun(cues, 1.0) == "storm"
    cues.back(1.0)
    assert begun(cues, 1.0) == "dawn"
    assert cues.back(1.0) is None


def test_a_second_go_during_a_delay_starts_the_next_cue() -> None:
    cues = CueList([STORM, NIGHT])
    cues.go(0.0)
    cues.go(0.2)
    assert begun(cues, 0.2) == "night"
    assert cues.go(0.3) is None, "behind the last there is nothing"


def test_a_cue_follows_after_its_fade_unless_another_was_requested() -> None:
    cues = CueList([STORM, NIGHT])
    cues.go(0.0)
    assert begun(cues, 1.0) == "storm"
    assert begun(cues, 7.9) == ""
    assert begun(cues, 8.0) == "night"
    cues.goto("storm", 10.0)
    cues.update(11.0)
    cues.goto("night", 12.0)
    assert begun(cues, 12.0) == "night"
    assert begun(cues, 30.0) == ""


def test_a_follow_without_a_next_cue_ends_there() -> None:
    cues = CueList([STORM])
    cues.go(0.0)
    assert begun(cues, 1.0) == "storm"
    assert begun(cues, 8.0) == ""
    cues.record(Cue("found"))
    assert begun(cues, 200.0) == ""
    cues.go(201.0)
    assert begun(cues, 201.0) == "found"


def test_after_panic_no_cue_is_current_and_go_starts_the_next_one() -> None:
    cues = CueList([DAWN, STORM, NIGHT])
    cues.go(0.0)
    assert begun(cues, 0.0) == "dawn"
    cues.go(1.0)
    assert cues.pending == "storm"
    cues.panic()
    assert (cues.current, cues.pending, begun(cues, 60.0)) == (None, "", "")
    assert cues.standby == "storm"
    cues.go(60.0)
    assert begun(cues, 61.0) == "storm"
    cues.panic()
    cues.back(62.0)
    assert begun(cues, 62.0) == "dawn"


def test_release_and_panic_stop_what_would_come() -> None:
    cues = CueList([STORM, NIGHT])
    cues.go(0.0)
    cues.panic()
    assert begun(cues, 5.0) == ""
    cues.go(5.0)
    cues.update(6.0)
    cues.release()
    assert cues.current is None
    assert begun(cues, 60.0) == ""
    cues.go(60.0)
    assert begun(cues, 61.0) == "storm"


DAY = Cue("day", at="09:00")


def at_time(text: str) -> float:
    """Seconds since 1970 of a time of this machine."""
    return datetime.fromisoformat(f"2026-06-{text}").timestamp()


def test_the_schedule_starts_a_cue_once_a_day() -> None:
    cues = CueList([DAWN, NIGHT, DAY])
    assert begun(cues, 0.0, at_time("10 21:59")) == "day", "what should be on is put on at the start"
    assert begun(cues, 60.0, at_time("10 22:00")) == "night"
    assert begun(cues, 61.0, at_time("10 22:00:01")) == ""
    cues.go(90.0)
    assert begun(cues, 90.0, at_time("10 22:01")) == "day"
    assert begun(cues, 91.0, at_time("10 22:02")) == "", "the performer's cue stays"


@pytest.mark.parametrize(("before", "after", "name"), [
    ("10 20:00", "10 22:30", "night"), ("10 20:00", "11 10:00", "day"), ("10 20:00", "12 08:00", "night"),
    ("10 09:30", "10 21:00", ""), ("10 21:59:59", "10 22:00", "night"),
])
def test_after_a_power_cut_the_newest_missed_cue_starts(before: str, after: str, name: str) -> None:
    """If none was missed, the restored cue stays."""
    earlier = CueList([DAY, NIGHT, STORM])
    begun(earlier, 0.0, at_time(before))
    cues = CueList([DAY, NIGHT, STORM])
    cues.restore("storm", 0.0, earlier.schedule.done)
    assert begun(cues, 0.0, at_time(after)) == name


def test_a_look_without_a_schedule_is_not_overridden_at_once() -> None:
    cues = CueList([DAY, NIGHT])
    cues.restore("day", 0.0)
    assert begun(cues, 0.0, at_time("10 23:00")) == ""
    assert begun(cues, 1.0, at_time("11 09:00")) == "day"


@pytest.mark.parametrize(("asked", "name"), [
    ("2", "storm"), ("2.0", "storm"), ("1", "dawn"), ("0", ""), ("-1", ""), ("4", ""), ("nan", ""), ("inf", ""),
])
def test_goto_accepts_a_number(asked: str, name: str) -> None:
    cues = CueList([DAWN, STORM, NIGHT])
    cue = cues.goto(asked, 0.0)
    assert (cue.name if cue else "") == name == cues.resolve(asked)


def test_a_name_that_is_a_number_comes_before_the_place() -> None:
    cues = CueList([DAWN, STORM, Cue("1")])
    cue = cues.goto("1", 0.0)
    assert cue is not None
    assert (cue.name, cues.resolve("1")) == ("1", "1")


def test_goto_an_unknown_name_changes_nothing() -> None:
    cues = CueList([DAWN])
    assert cues.goto("dusk", 0.0) is None
    assert cues.update(0.0) is None


def test_a_recorded_cue_replaces_its_name_or_is_appended() -> None:
    cues = CueList([DAWN, STORM])
    cues.record(Cue("dawn", {"steps": 4}))
    cues.record(Cue("new"))
    assert [cue.name for cue in cues.cues] == ["dawn", "storm", "new"]
    assert cues.cues[0].values == {"steps": 4}


def test_go_continues_after_a_cue_that_was_recorded_again() -> None:
    cues = CueList([DAWN, STORM])
    cues.go(0.0)
    assert cues.update(DAWN.delay) == DAWN
    cues.record(Cue("dawn", {"steps": 4}))
    assert cues.go(100.0) == STORM


@pytest.mark.parametrize(("curve", "half"), [("linear", 0.5), ("smooth", 0.5), ("in", 0.25), ("out", 0.75)])
def test_a_fade_follows_its_curve(curve: str, half: float) -> None:
    parameters = Parameters(start={"strength": 0.0, "steps": 1, "seed": 3})
    for name, value in (("strength", 1.0), ("steps", 5), ("seed", 9)):
        parameters.fade(name, value, 10.0, 4.0, curve)
    values = parameters.evaluate(12.0)
    assert values["strength"] == pytest.approx(half)
    assert values["steps"] == round(1 + 4 * half)
    assert dict(values["seed"].parts) == pytest.approx({3: 1 - half, 9: half})
    assert parameters.evaluate(14.0)["strength"] == 1.0


def test_a_controller_ends_the_fade_of_its_parameter_only() -> None:
    parameters = Parameters(start={"strength": 0.0, "mix": 0.0})
    for name in ("strength", "mix"):
        parameters.fade(name, 1.0, 0.0, 10.0)
    parameters.set("strength", 0.2, 5.0)
    values = parameters.evaluate(6.0)
    assert values["strength"] == 0.2
    assert values["mix"] == pytest.approx(0.6)


def test_values_that_cannot_fade_change_at_the_start() -> None:
    parameters = Parameters(start={"prompt": "ocean"})
    parameters.fade("mode", "text", 0.0, 10.0)
    parameters.fade("prompt", "lava", 0.0, 10.0)
    values = parameters.evaluate(5.0)
    assert values["mode"] == "text"
    assert values["prompt"] == Blend((("ocean", 0.5), ("lava", 0.5)))
