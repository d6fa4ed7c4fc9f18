"""What a show means is taken into account before its output is called black or frozen; sinks that take nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.output_faults import Intention
from lcm_daemon.stage.output_watch import OutputWatch, intention
from lcm_daemon.stage.stage import Stage
from tests.conftest import ManualClock

PLAYING: dict[str, Any] = {"master": 1.0, "blackout": False, "freeze": False, "mode": "image", "strength": 0.6}
BLACK, GREY = solid((64, 64)), solid((64, 64), (90, 90, 90, 255))


@pytest.mark.parametrize(("values", "is_closed", "level", "light", "motion", "picture"), [
    ({}, False, 1.0, True, True, True),
    ({"blackout": True}, False, 1.0, False, False, True),
    ({"master": 0.05}, False, 1.0, False, False, True),
    ({"master": 0.5}, False, 0.1, False, False, True),
    ({"master": 0.5}, False, 0.5, True, True, True),
    ({"freeze": True}, False, 1.0, False, False, False),
    ({}, True, 1.0, False, False, False),
    ({"mode": "text"}, False, 1.0, True, False, True),
    ({"strength": 1.0}, False, 1.0, True, False, True),
    ({"similarity_skip": 3.0}, False, 1.0, True, False, True),
])
def test_what_a_show_means(
    values: dict[str, Any], is_closed: bool, level: float, light: bool, motion: bool, picture: bool
) -> None:
    assert intention({**PLAYING, **values}, is_closed, level) == Intention(light, motion, picture)


class Rig:
    """A stage whose output a test sets, watched once a second."""

    def __init__(self, folder: Path, clock: ManualClock, care: str = "{black: 5, frozen: 20, failsafe: 8}") -> None:
        (folder / "show.yaml").write_text(
            "{recipe: passthrough, output: {size: [64, 64]}, osc: false, panel: false, sinks: [{transport: memory,"
            f" name: care-test}}], care: {care}}}")
        self.stage, self.clock = Stage(load_show(folder / "show.yaml", environment={}), clock), clock
        (self.watch,) = (one for one in self.stage._attendants if isinstance(one, OutputWatch))
        self.stage.picture.shown_age = 0.0
        self.source: Any = None
        self.stage.source = self  # type: ignore[assignment]

    @property
    def newest(self) -> Frame | None:
        return self.source

    def alarm(self, output: Any, seconds: int = 30, **values: Any) -> str:
        self.stage.values = {**self.stage.values, **PLAYING, **values}
        for _ in range(seconds):
            self.clock.sleep(1.0)
            self.stage.output = Frame(output, 0, self.clock.now())
            self.watch.step(self.clock.now())
        return self.stage.alarms.describe()


@pytest.fixture
def rig(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(Stage, "loading", "")
    rig = Rig(tmp_path, clock)
    rig.stage.outputs.sinks[0].state = "running"
    return rig


def test_a_black_output_raises_an_alarm_unless_it_is_meant(rig: Rig) -> None:
    rig.source = Frame(GREY, 0, 0.0)
    assert rig.alarm(BLACK, blackout=True) == rig.alarm(BLACK, freeze=True) == ""
    assert rig.alarm(BLACK) == "the output has been black for more than 5 s"
    rig.stage.picture.is_closed = True
    assert rig.alarm(BLACK) == ""


def test_a_dark_picture_that_is_dimmed_and_a_slow_opening_are_no_faults(rig: Rig) -> None:
    rig.source = Frame(GREY, 0, 0.0)
    rig.stage.picture.undimmed = solid((64, 64), (75, 75, 75, 255))
    assert rig.alarm(solid((64, 64), (15, 15, 15, 255)), master=0.2) == ""
    rig.stage.picture.covered = 0.99
    assert rig.alarm(BLACK) == ""
    rig.stage.picture.covered, rig.stage.picture.undimmed = 0.0, BLACK
    assert rig.alarm(BLACK, master=0.2) == "the output has been black for more than 5 s"


def test_pictures_of_visitors_do_not_follow_the_source_of_the_show(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(output: Pixels) -> str:
        for shade in range(30):
            rig.source = Frame(solid((64, 64), (100 + shade, 0, 0, 255)), 0, 0.0)
            found = rig.alarm(output, 1)
        return found

    monkeypatch.setattr(type(rig.stage.audience), "shows_visitors", True)
    assert look(GREY) == look(BLACK) == ""
    monkeypatch.setattr(type(rig.stage.audience), "shows_visitors", False)
    assert "has not changed" in look(GREY)


def test_a_black_input_makes_a_black_output_but_not_of_a_prompt(rig: Rig) -> None:
    rig.source = Frame(BLACK, 0, 0.0)
    assert rig.alarm(BLACK) == ""
    assert rig.alarm(BLACK, mode="text") == "the output has been black for more than 5 s"


def test_the_failsafe_raises_an_alarm_once_the_engines_have_loaded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.stage.picture.shown_age = None
    monkeypatch.setattr(Stage, "loading", "loading builtin")
    assert rig.alarm(GREY) == ""
    monkeypatch.setattr(Stage, "loading", "")
    assert rig.alarm(GREY) == "the output has shown the failsafe for more than 8 s"


def test_a_sink_that_takes_nothing_raises_an_alarm(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (sink,) = rig.stage.outputs.sinks
    sink.state = "the disk is full"
    assert rig.alarm(GREY, 15) == ""
    assert rig.alarm(GREY, 3) == "memory care-test: the disk is full"
    sink.switch(False)
    assert rig.alarm(GREY, 20) == ""
    sink.switch(True)
    sink.state = "running"
    monkeypatch.setattr(type(sink), "is_stuck", True)
    assert rig.alarm(GREY, 18) == "memory care-test: it does not answer"


def test_an_orbit_and_a_night_change_what_goes_out_and_a_show_without_them_has_no_last_step(
    tmp_path: Path, clock: ManualClock
) -> None:
    plain = Rig(tmp_path, clock, "{}")
    assert plain.stage.picture.last_steps == []
    moving = Rig(tmp_path, clock, "{orbit: {pixels: 2, every: 1}}")
    assert len(moving.stage.picture.last_steps) == 1
