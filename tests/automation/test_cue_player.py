"""Fade times at GO, load, pause, resume, stop, automatic GOs, loops and messages, on a simulated clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lcm_daemon.automation.automation import Automation
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.cue_messages import OscMessageOut
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change, CommandRequest

DAWN = Cue("dawn", {"strength": 0.0, "mix": 0.0}, fade=10.0, fades={"mix": 4.0})
STORM = Cue("storm", {"strength": 1.0, "prompt": "rain"}, fade=4.0, delay=2.0)
NIGHT = Cue("night", {"strength": 0.2})


class Desk:
    def __init__(self, *cues: Cue, loop: bool = False, lookahead: float = 0.0) -> None:
        self.parameters = Parameters(start={"strength": 1.0, "mix": 1.0})
        self.automation = Automation(cues or (DAWN, STORM, NIGHT), (), self.parameters, lambda recipe: None,
                                     loop=loop, lookahead=lambda: lookahead)
        self.parameters.replace_table({**TABLE, **self.automation.table})

    def call(self, name: str, now: float = 0.0, *arguments: Value) -> list[Change]:
        changes = self.automation.execute(CommandRequest(name, "osc/test", arguments), now)
        self.step(now)
        return changes

    def step(self, now: float) -> str:
        """The name of the current cue."""
        self.automation.update(now, None)
        return str(self.automation.status(now)["cue"])

    def value(self, name: str, now: float) -> float:
        return float(self.parameters.evaluate(now)[name])

    def status(self, now: float) -> tuple[Value, ...]:
        status = self.automation.status(now)
        return status["fade"], status["fade_left"], status["paused"]


# Fade times

def test_a_parameter_has_its_own_fade_time() -> None:
    desk = Desk()
    desk.call("cue/go")
    assert (desk.value("strength", 4.0), desk.value("mix", 4.0)) == (pytest.approx(0.6), 0.0)
    assert desk.status(5.0) == (0.5, 5.0, False)
    assert desk.status(10.0) == (1.0, 0.0, False)


@pytest.mark.parametrize("command", [("cue/go", 20.0), ("cue/goto", "dawn", 20.0), ("cue/goto", "1", 20.0)])
def test_a_fade_time_at_go_is_that_of_every_parameter(command: tuple[str, Value]) -> None:
    desk = Desk()
    desk.call(command[0], 0.0, *command[1:])
    assert desk.value("strength", 10.0) == desk.value("mix", 10.0) == 0.5
    assert desk.automation.cue_list.cues[0] == DAWN


def test_back_and_a_cut_at_goto() -> None:
    desk = Desk()
    desk.call("cue/goto", 0.0, "storm", 0.0)
    assert desk.step(2.0) == "storm"
    desk.call("cue/back", 3.0, 2.0)
    assert desk.value("strength", 4.0) == 0.5
    desk.call("cue/goto", 4.0, "dawn", 0.0)
    assert desk.value("strength", 4.0) == 0.0


# GOTO of the cue that is under way

def test_goto_of_a_cue_under_way_does_not_restart_it() -> None:
    desk = Desk()
    for now in (0.0, 2.0, 5.0, 9.9):
        desk.call("cue/goto", now, "dawn")
    assert desk.value("strength", 9.9) == pytest.approx(0.01)
    desk.parameters.set("strength", 0.7, 11.0, "osc/hand")
    desk.call("cue/goto", 12.0, "dawn")
    assert desk.value("strength", 17.0) == pytest.approx(0.35), "its fade has ended: this is a new one"


def test_goto_of_a_cue_that_waits_for_its_delay_does_not_restart_the_delay() -> None:
    desk = Desk()
    for now in (0.0, 1.0, 1.9):
        desk.call("cue/goto", now, "storm")
    assert desk.step(2.0) == "storm"


def test_goto_restarts_a_cue_from_which_a_hand_has_taken_a_value_or_with_another_fade() -> None:
    desk = Desk()
    desk.call("cue/goto", 0.0, "dawn")
    desk.parameters.move("mix", 0.9, 2.0, "osc/hand")
    desk.call("cue/goto", 2.0, "dawn")
    assert desk.value("mix", 4.0) == pytest.approx(0.45)
    desk.call("cue/goto", 4.0, "dawn", 1.0)
    assert desk.value("strength", 5.0) == 0.0
    desk.call("cue/goto", 4.5, "dawn", 1.0)
    assert desk.value("strength", 5.0) == 0.0, "the same fade once more does not restart it"


# GO and BACK

@pytest.mark.parametrize(("loop", "expected"), [
    (False, ["", "", "dawn", "storm"]), (True, ["", "night", "dawn", "storm"]),
])
def test_the_status_names_the_cue_that_back_starts(loop: bool, expected: list[str]) -> None:
    desk = Desk(DAWN, replace(STORM, delay=0.0), NIGHT, loop=loop)
    found = []
    for _ in expected:
        found.append(desk.automation.status(0.0)["previous_cue"])
        desk.call("cue/go")
    assert found == expected
    desk.call("cue/goto", 0.0, "dawn")
    desk.call("cue/back", 0.0)
    assert desk.step(0.0) == ("night" if loop else "dawn"), "BACK starts it"


# Load

@pytest.mark.parametrize("name", ["night", "3", "3.0"])
def test_the_next_go_starts_the_loaded_cue(name: str) -> None:
    desk = Desk()
    desk.call("cue/go")
    desk.call("cue/load", 1.0, name)
    assert desk.automation.status(1.0)["upcoming_cue"] == "night"
    assert desk.value("strength", 5.0) == 0.5, "loading plays nothing"
    desk.call("cue/go", 5.0)
    assert desk.step(5.0) == "night"
    assert desk.automation.status(5.0)["upcoming_cue"] == ""
    desk.call("cue/load", 6.0, "dawn")
    desk.call("cue/release", 6.0)
    desk.call("cue/load", 6.0, "storm")
    desk.automation.panic()
    assert desk.automation.status(6.0)["upcoming_cue"] == "dawn"


@pytest.mark.parametrize("command", ["cue/goto", "cue/load"])
@pytest.mark.parametrize(("given", "hint"), [
    ("4.9", "the list has 3 cues"), ("dusk", "the list has 3 cues"), ("strom", "did you mean 'storm'?"),
])
def test_an_unknown_cue_is_refused(
    command: str, given: str, hint: str, caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk()
    desk.parameters.set("quantise", "bar", 0.0)
    desk.call(command, 0.5, given)
    assert desk.automation.status(0.5)["upcoming_cue"] == "dawn"
    assert f"{command}: no cue {given!r}; {hint}" in caplog.text, "also while quantised, at once"
    assert [refusal.origin for refusal in desk.automation.refusals.pop()] == ["osc/test"]


# Pause, resume, stop

def test_pause_and_resume_continue_with_the_time_that_was_left() -> None:
    desk = Desk()
    desk.call("cue/go")
    desk.call("cue/pause", 2.0)
    assert (desk.value("strength", 99.0), desk.value("mix", 99.0)) == (pytest.approx(0.8), 0.5)
    assert desk.status(99.0) == (0.2, 8.0, True)
    desk.call("cue/pause", 50.0)
    desk.call("cue/resume", 100.0)
    assert desk.status(100.0) == (0.2, 8.0, False)
    assert (desk.value("strength", 104.0), desk.value("mix", 102.0)) == (pytest.approx(0.4), 0.0)


def test_pause_keeps_delay_and_automatic_go_and_a_hand_still_moves() -> None:
    desk = Desk(Cue("a", {"mix": 0.0}, fade=4.0, follow=1.0), Cue("b", {"mix": 1.0}, delay=3.0))
    desk.call("cue/go")
    desk.call("cue/pause", 2.0)
    desk.parameters.move("mix", 0.9, 3.0, "osc/hand")
    assert desk.value("mix", 30.0) == 0.9
    assert desk.step(30.0) == "a"
    desk.call("cue/resume", 32.0)
    assert desk.automation.status(34.9)["next_cue"] == ""
    desk.step(35.0)
    assert desk.automation.status(35.0)["next_cue"] == "b"
    desk.call("cue/pause", 36.0)
    assert desk.step(60.0) == "a"
    desk.call("cue/resume", 60.0)
    assert (desk.step(61.9), desk.step(62.0)) == ("a", "b")


@pytest.mark.parametrize("command", [("cue/go",), ("cue/goto", "night"), ("cue/release",)])
def test_another_cue_ends_a_pause(command: tuple[str, ...]) -> None:
    desk = Desk(DAWN, NIGHT)
    desk.call("cue/go")
    desk.call("cue/pause", 2.0)
    desk.call(command[0], 3.0, *command[1:])
    assert desk.status(3.0)[2] is False
    assert desk.value("mix", 5.0) == 0.0, "what the new cue does not set goes on fading"


def test_stop_leaves_every_value_where_it_is_and_starts_nothing() -> None:
    desk = Desk(Cue("a", {"mix": 0.0, "prompt": "rain", "steps": 8}, fade=4.0, follow=1.0), Cue("b", {"mix": 1.0}))
    desk.call("cue/go")
    changes = desk.call("cue/stop", 1.0)
    assert {change.name: change.value for change in changes} == {"mix": 0.75, "prompt": "clouds", "steps": 4}
    assert {change.origin for change in changes} == {"cue/stop"}, "everybody is told"
    assert desk.value("mix", 50.0) == 0.75
    assert dict(desk.parameters.evaluate(50.0)["prompt"].parts) == {"clouds": 0.75, "rain": 0.25}
    assert (desk.step(50.0), desk.status(50.0)) == ("a", (1.0, 0.0, False))
    assert desk.call("cue/stop", 51.0) == []
    desk.parameters.set("prompt", "lava", 52.0)
    assert desk.parameters.evaluate(52.0)["prompt"] == "lava"


def test_stop_ends_a_paused_fade_and_a_waiting_cue() -> None:
    desk = Desk()
    desk.call("cue/go")
    desk.call("cue/pause", 5.0)
    desk.call("cue/stop", 6.0)
    desk.call("cue/resume", 7.0)
    assert desk.value("strength", 20.0) == 0.5
    desk.call("cue/go", 20.0)
    desk.call("cue/stop", 21.0)
    assert desk.step(30.0) == "dawn"


# Automatic GOs and loops

def test_auto_continue_counts_from_the_start_of_the_fade() -> None:
    desk = Desk(Cue("a", {"mix": 0.0}, fade=10.0, delay=1.0, auto_continue=3.0), Cue("b", {"strength": 0.0}, fade=4.0))
    desk.call("cue/go")
    assert [desk.step(now) for now in (0.9, 1.0, 3.9, 4.0)] == ["", "a", "a", "b"]
    assert desk.value("mix", 6.0) == pytest.approx(0.5), "it fades on"
    assert desk.value("strength", 6.0) == 0.5


def test_follow_counts_from_the_end_of_the_longest_fade() -> None:
    desk = Desk(Cue("a", {"mix": 0.0, "strength": 0.0}, fade=2.0, fades={"mix": 6.0}, follow=1.0), Cue("b"))
    desk.call("cue/go")
    assert [desk.step(now) for now in (6.9, 7.0)] == ["a", "b"]
    again = Desk(Cue("a", {"mix": 0.0}, fade=20.0, fades={"mix": 6.0}, follow=1.0), Cue("b"))
    again.call("cue/go", 0.0, 2.0)
    assert [again.step(now) for now in (2.9, 3.0)] == ["a", "b"]


def test_a_loop_begins_again() -> None:
    desk = Desk(Cue("a", follow=1.0), Cue("b", follow=1.0), loop=True)
    assert desk.automation.status(0.0)["upcoming_cue"] == "a"
    desk.call("cue/back")
    assert desk.step(0.0) == "", "nothing is before the start"
    desk.call("cue/go")
    assert [desk.step(now) for now in (0.0, 1.0, 2.0, 3.0)] == ["a", "b", "a", "b"]
    desk.call("cue/go", 3.5)
    assert desk.step(3.5) == "a"
    desk.call("cue/back", 3.6)
    assert desk.step(3.6) == "b"


# Quantise

@pytest.mark.parametrize(("grid", "beat"), [("beat", 2.0), ("bar", 4.0), ("2 bars", 8.0), ("4 bars", 16.0)])
def test_a_cue_starts_by_the_lookahead_before_its_beat(grid: str, beat: float) -> None:
    for lookahead in (0.0, 0.15):
        desk = Desk(lookahead=lookahead)
        desk.parameters.set("quantise", grid, 0.0)
        desk.step(0.7)  # 120 beats a minute
        desk.call("cue/go", 0.7)
        due = beat / 2 - lookahead
        assert (desk.step(due - 0.01), desk.step(due + 0.001)) == ("", "dawn")


def test_a_picture_that_would_be_late_waits_for_the_next_beat() -> None:
    """At 120 beats a minute, the bars begin at 2 and 4 seconds."""
    for pressed, started in ((1.2, 1.3), (1.45, 1.45), (1.7, 3.3)):  # in time, 0.15 s late, would be 0.4 s late
        desk = Desk(lookahead=0.7)
        desk.parameters.set("quantise", "bar", 0.0)
        assert desk.step(pressed) == ""
        desk.call("cue/go", pressed)
        assert desk.step(max(pressed, started - 0.01)) == ("dawn" if pressed == started else "")
        assert desk.step(started + 0.001) == "dawn"


# Messages

LIGHT = OscMessageOut("/light/go", (1,), "127.0.0.1", 8000)
SOUND = OscMessageOut("/sound/go", (2.0,), "127.0.0.1", 8001)


def test_messages_are_due_when_the_fade_starts_once() -> None:
    desk = Desk(Cue("a", delay=2.0, send=(LIGHT, SOUND)), Cue("b"))
    desk.call("cue/go")
    assert desk.automation.pop_messages(1.0) == []
    desk.step(2.0)
    assert desk.automation.pop_messages(2.0) == [LIGHT, SOUND]
    assert desk.automation.pop_messages(3.0) == []


def test_messages_of_a_quantised_cue_are_due_on_the_beat() -> None:
    desk = Desk(Cue("a", send=(LIGHT,)), lookahead=0.25)
    desk.parameters.set("quantise", "bar", 0.0)
    desk.step(1.0)
    desk.call("cue/go", 1.0)
    assert desk.step(1.75) == "a"
    assert desk.automation.pop_messages(1.99) == []
    assert desk.automation.pop_messages(2.0) == [LIGHT]


def test_a_panic_that_takes_its_time_is_paused_and_stopped_as_a_fade() -> None:
    desk = Desk()
    desk.parameters.set("strength", 0.0, 0.0)
    desk.parameters.reset("panic/osc/a", 0.0, 10.0)
    assert desk.status(2.0) == (0.2, 8.0, False)
    desk.call("cue/pause", 2.0)
    assert (desk.value("strength", 5.0), desk.status(5.0)) == (pytest.approx(0.2), (0.2, 8.0, True))
    desk.call("cue/resume", 5.0)
    assert desk.value("strength", 8.0) == pytest.approx(0.5)
    assert desk.call("cue/stop", 8.0) == [Change("strength", pytest.approx(0.5), "cue/stop")]
    assert desk.value("strength", 20.0) == pytest.approx(0.5)


def test_panic_cancels_messages_that_wait() -> None:
    desk = Desk(Cue("a", send=(LIGHT,)))
    desk.call("cue/go")
    desk.automation.panic()
    assert desk.automation.pop_messages(9.0) == []
