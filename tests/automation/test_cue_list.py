"""The cue list on a clock of its own, and what its fades make of the parameters."""

from __future__ import annotations

import pytest

from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.core.live_values import Blend, Parameters

DAWN, STORM, NIGHT = Cue("dawn", fade=4.0), Cue("storm", fade=2.0, delay=1.0, follow=5.0), Cue("night", at="22:00")


def begun(cues: CueList, now: float, clock: str = "") -> str:
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


def test_go_twice_before_a_delay_is_over_goes_on() -> None:
    cues = CueList([STORM, NIGHT])
    cues.go(0.0)
    cues.go(0.2)
    assert begun(cues, 0.2) == "night"
    assert cues.go(0.3) is None, "behind the last there is nothing"


def test_a_cue_follows_by_itself_after_its_fade_unless_somebody_was_faster() -> None:
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


def test_release_and_hold_stop_what_would_come() -> None:
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


def test_the_schedule_gives_a_cue_once_a_day() -> None:
    cues = CueList([DAWN, NIGHT])
    assert begun(cues, 0.0, "21:59") == ""
    assert begun(cues, 60.0, "22:00") == "night"
    assert begun(cues, 61.0, "22:00") == ""
    assert begun(cues, 120.0, "22:01") == ""


DAY = Cue("day", at="09:00")


@pytest.mark.parametrize(("before", "after", "name"), [
    ("21:50", "22:10", "night"),  # it slept for twenty minutes
    ("08:00", "08:59", ""),
    ("23:50", "09:05", "day"),  # over midnight
    ("08:00", "22:30", ""),  # fourteen hours: the clock may as well have been set back by ten
    ("02:59", "02:00", ""),  # as in autumn
])
def test_a_machine_that_slept_makes_good_what_fell_due(before: str, after: str, name: str) -> None:
    cues = CueList([DAY, NIGHT])
    assert begun(cues, 0.0, before) == ""
    assert begun(cues, 1.0, after) == name
    assert begun(cues, 2.0, after) == ""


@pytest.mark.parametrize(("before", "after", "name"), [
    ("20:00", "22:30", "night"), ("20:00", "10:00", "day"), ("20:00", "08:00", "night"), ("09:30", "21:00", "day"),
    ("21:59", "22:00", "night"), ("", "23:00", "day"),
])
def test_what_fell_due_while_the_power_was_off_begins(before: str, after: str, name: str) -> None:
    """The newest of what was missed; where nothing was, the cue stands that stood."""
    cues = CueList([DAY, NIGHT])
    cues.restore("day", 0.0, before)
    begun(cues, 0.0, after)
    assert cues.current is not None
    assert cues.current.name == name


@pytest.mark.parametrize(("asked", "name"), [
    ("2", "storm"), ("2.0", "storm"), ("1", "dawn"), ("0", ""), ("-1", ""), ("4", ""), ("nan", ""), ("inf", ""),
])
def test_goto_goes_by_the_number_as_well(asked: str, name: str) -> None:
    cues = CueList([DAWN, STORM, NIGHT])
    cue = cues.goto(asked, 0.0)
    assert (cue.name if cue else "") == name == cues.resolve(asked)


def test_a_cue_called_by_a_number_is_that_cue() -> None:
    cues = CueList([DAWN, STORM, Cue("1")])
    cue = cues.goto("1", 0.0)
    assert cue is not None
    assert (cue.name, cues.resolve("1")) == ("1", "1")


def test_a_name_that_is_not_there_changes_nothing() -> None:
    cues = CueList([DAWN])
    assert cues.goto("dusk", 0.0) is None
    assert cues.update(0.0) is None


def test_a_recorded_cue_takes_the_place_of_its_name_or_the_end() -> None:
    cues = CueList([DAWN, STORM])
    cues.record(Cue("dawn", {"steps": 4}))
    cues.record(Cue("new"))
    assert [cue.name for cue in cues.cues] == ["dawn", "storm", "new"]
    assert cues.cues[0].values == {"steps": 4}


def test_go_goes_on_from_a_cue_that_was_recorded_over() -> None:
    cues = CueList([DAWN, STORM])
    cues.go(0.0)
    assert cues.update(DAWN.delay) == DAWN
    cues.record(Cue("dawn", {"steps": 4}))
    assert cues.go(100.0) == STORM


@pytest.mark.parametrize(("curve", "half"), [("linear", 0.5), ("smooth", 0.5), ("in", 0.25), ("out", 0.75)])
def test_a_fade_goes_by_its_curve(curve: str, half: float) -> None:
    parameters = Parameters(start={"strength": 0.0, "steps": 1, "seed": 3})
    for name, value in (("strength", 1.0), ("steps", 5), ("seed", 9)):
        parameters.fade(name, value, 10.0, 4.0, curve)
    values = parameters.evaluate(12.0)
    assert values["strength"] == pytest.approx(half)
    assert values["steps"] == round(1 + 4 * half)
    assert dict(values["seed"].parts) == pytest.approx({3: 1 - half, 9: half})
    assert parameters.evaluate(14.0)["strength"] == 1.0


def test_the_hand_on_a_fader_wins_over_a_fade_of_that_parameter_alone() -> None:
    parameters = Parameters(start={"strength": 0.0, "mix": 0.0})
    for name in ("strength", "mix"):
        parameters.fade(name, 1.0, 0.0, 10.0)
    parameters.set("strength", 0.2, 5.0)
    values = parameters.evaluate(6.0)
    assert values["strength"] == 0.2
    assert values["mix"] == pytest.approx(0.6)


def test_what_cannot_travel_jumps_when_the_fade_begins() -> None:
    parameters = Parameters(start={"prompt": "ocean"})
    parameters.fade("mode", "text", 0.0, 10.0)
    parameters.fade("prompt", "lava", 0.0, 10.0)
    values = parameters.evaluate(5.0)
    assert values["mode"] == "text"
    assert values["prompt"] == Blend((("ocean", 0.5), ("lava", 0.5)))
