"""Panic, and what an undo of it asks for again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.core.requests import Change, CommandRequest
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.stage import Stage
from tests.conftest import ManualClock

SHOW = """
recipe: passthrough
output: {size: [64, 64]}
osc: false
panel: false
sources: {wide: {transport: testcard}}
cues:
  - {name: calm, set: {prompt: ocean, strength: 0.3}, follow: 5}
  - {name: storm, set: {prompt: lightning, strength: 0.8}, delay: 4}
  - {name: night, set: {prompt: stars}}
"""


@pytest.fixture
def stage(tmp_path: Path, clock: ManualClock) -> Iterator[Stage]:
    file = tmp_path / "show.yaml"
    file.write_text(SHOW)
    stage = Stage(load_show(file, environment={}), clock)
    yield stage
    stage.inputs.cancel()


class Hand:
    """Requests things of a stage, and lets time pass."""

    def __init__(self, stage: Stage, clock: ManualClock) -> None:
        self.stage, self.clock = stage, clock

    def do(self, name: str, *arguments: str | float) -> list[Change]:
        changes = self.stage.dispatch.execute(CommandRequest(name, "panel/1", arguments), self.clock.now())
        self.wait(0.0)
        return changes

    def wait(self, seconds: float) -> None:
        self.clock.time += seconds
        moved = self.stage.automation.update(self.clock.now(), None)
        self.stage.dispatch.observe_automation(moved, self.clock.now())

    @property
    def cue(self) -> str:
        return str(self.stage.automation.status(self.clock.now())["cue"])

    @property
    def prompt(self) -> object:
        return self.stage.parameters.targets()["prompt"]


@pytest.fixture
def hand(stage: Stage, clock: ManualClock) -> Hand:
    return Hand(stage, clock)


@pytest.mark.parametrize("command", ["undo", "undo_panic"])
def test_values_and_the_place_in_the_cue_list_come_back(hand: Hand, command: str) -> None:
    hand.do("cue/go")
    hand.do("cue/load", "night")
    hand.do("panic")
    assert (hand.cue, hand.prompt) == ("", "clouds")
    hand.do(command)
    assert (hand.cue, hand.prompt) == ("calm", "ocean")
    assert hand.stage.automation.status(0.0)["upcoming_cue"] == "night"


def test_an_automatic_go_and_a_delay_have_the_time_that_they_had_left(hand: Hand) -> None:
    hand.do("cue/go")
    hand.wait(2.0)
    hand.do("panic")
    hand.wait(8.0)
    assert hand.cue == ""
    hand.do("undo_panic")
    hand.wait(2.9)
    assert hand.stage.automation.cue_list.pending == ""
    hand.wait(0.2)
    assert hand.stage.automation.cue_list.pending == "storm"  # it has a delay of 4 s
    hand.wait(1.0)
    hand.do("panic")
    hand.wait(30.0)
    hand.do("undo")
    hand.wait(2.8)
    assert hand.cue == "calm"
    hand.wait(0.4)
    assert hand.cue == "storm"


def test_a_cue_that_was_started_since_stays(hand: Hand) -> None:
    hand.do("cue/go")
    hand.do("panic")
    hand.do("cue/goto", "night")
    assert hand.do("undo_panic") == [Change("strength", 0.3, "undo_panic")], "the prompt was moved since"
    assert (hand.cue, hand.prompt) == ("night", "stars")


def test_a_recipe_and_a_source_that_were_loading_are_asked_for_again(hand: Hand) -> None:
    stage = hand.stage
    stage.switcher.change("builtin")
    hand.do("source", "wide")
    hand.do("panic")
    assert (stage.recipes.wanted.name, stage.source.wanted) == ("passthrough", "show")
    hand.do("undo_panic")
    assert (stage.recipes.wanted.name, stage.source.wanted) == ("builtin", "wide")


def test_what_was_asked_for_since_is_not_replaced(hand: Hand) -> None:
    stage = hand.stage
    stage.switcher.change("builtin")
    hand.do("panic")
    stage.switcher.change("sd-turbo")
    hand.do("undo")
    assert stage.recipes.wanted.name == "sd-turbo"


def test_a_panic_without_any_effect_is_no_move(hand: Hand) -> None:
    hand.do("panic")
    assert hand.stage.dispatch.lists()["undo"] == ()


def test_what_pages_are_told(hand: Hand) -> None:
    stage, now = hand.stage, hand.clock.now()
    stage.dispatch.execute(Change("prompt", "lava", "osc/127.0.0.1:9"), now)
    stage.dispatch.execute(Change("prompt", "lava", "osc/127.0.0.1:9"), now)  # no change: not sent again
    hand.do("cue/go")
    hand.do("next", "prompt", "marble")
    hand.wait(10.0)
    hand.do("undo")
    hand.do("prompts/store", 2.0, "neon grid")
    hand.do("prompts/play", 2.0)
    lists = stage.dispatch.lists()
    assert [(row["text"], row["by"]) for row in lists["prompt_history"]] == [
        ("neon grid", "page"), ("marble", "page"), ("lava", "osc 127.0.0.1")]
    assert lists["prompts"] == ({"number": 2, "text": "neon grid"},)
    assert lists["words"] == ()  # passthrough has none
    stage.dispatch.close()
    assert (Path(stage.show.file).parent / "show.prompts.yaml").read_text() == "2: neon grid\n"
