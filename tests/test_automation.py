"""Cues, modulation and tempo together, as the stage calls them, on a clock of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.automation import COMMANDS, Automation
from lcm_daemon.board import Call
from lcm_daemon.cues import Cue
from lcm_daemon.modulation import Modulator
from lcm_daemon.parameters import TABLE, Parameters

CUES = (Cue("dawn", {"strength": 0.4, "prompt": "sunset"}, fade=4.0), Cue("ink", {"strength": 1.0}, recipe="ink"))
LFO = Modulator("slow", "strength", wave="square", depth=0.1, rate=0.0)


class Rig:
    def __init__(self, file: Path | None = None, modulators: tuple[Modulator, ...] = ()) -> None:
        self.parameters, self.recipes = Parameters(), list[str]()
        self.automation = Automation(CUES, modulators, self.parameters, self.recipes.append, file)
        self.parameters.start = {"strength": 0.0}
        self.parameters.adopt({**TABLE, **self.automation.table})
        self.parameters.set("strength", 0.0, 0.0)

    def call(self, name: str, now: float, *arguments: str) -> None:
        self.automation.obey(Call(name, "osc/test", arguments), now)

    def step(self, now: float, clock: str = "") -> list[tuple[str, object, str]]:
        return [(c.name, c.value, c.origin) for c in self.automation.step(now, clock)]


def test_go_begins_a_cue_and_says_who_moved_what() -> None:
    rig = Rig()
    rig.call("cue/go", 10.0)
    assert rig.step(10.0) == [("strength", 0.4, "cue/dawn"), ("prompt", "sunset", "cue/dawn")]
    assert rig.parameters.evaluate(12.0)["strength"] == pytest.approx(0.2)
    assert rig.automation.status() == {"cue": "dawn", "next_cue": "", "cues": "dawn\nink"}


def test_a_cue_may_change_the_recipe() -> None:
    rig = Rig()
    rig.call("cue/goto", 0.0, "ink")
    rig.step(0.0)
    assert rig.recipes == ["ink"]


def test_goto_nowhere_is_one_line_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.call("cue/goto", 0.0, "dusk")
    assert rig.step(0.0) == []
    assert "there is no cue 'dusk'" in caplog.text


def test_a_quantised_go_waits_for_the_bar() -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    rig.step(0.5)
    rig.call("cue/go", 0.5)
    assert rig.automation.status()["next_cue"] == "cue/go"
    assert rig.step(1.9) == []
    assert rig.step(2.0)[0][2] == "cue/dawn"


def test_taps_move_the_tempo_for_everybody_and_a_number_does_too() -> None:
    rig = Rig()
    for number in range(4):
        rig.call("tap", 10.0 + number * 0.4)
    assert rig.parameters.targets()["bpm"] == pytest.approx(150.0)
    rig.parameters.set("bpm", 90.0, 12.0)
    rig.step(12.0)
    assert rig.automation.tempo.bpm == 90.0


def test_modulation_rides_on_a_cues_fade() -> None:
    rig = Rig(modulators=(LFO,))
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    assert rig.automation.apply(rig.parameters.evaluate(2.0), 2.0)["strength"] == pytest.approx(0.3)


def test_a_recorded_look_is_kept_beside_the_show_and_comes_back(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "mirror.yaml")
    rig.parameters.set("strength", 0.7, 0.0)
    rig.parameters.set("prompt", "lava", 0.0)
    rig.call("cue/record", 0.0, "found")
    assert rig.automation.status()["cues"] == "dawn\nink\nfound"
    again = Rig(tmp_path / "mirror.yaml")
    again.call("cue/goto", 0.0, "found")
    changes = again.step(0.0)
    assert ("strength", 0.7, "cue/found") in changes
    assert ("prompt", "lava", "cue/found") in changes
    assert again.parameters.evaluate(5.0)["prompt"] == "lava"
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.cues.yaml"]


def test_a_damaged_side_file_is_said_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("- {nme: wrong}")
    rig = Rig(tmp_path / "mirror.yaml")
    assert "recorded cues cannot be read" in caplog.text
    assert len(rig.automation.cues.cues) == len(CUES)


def test_release_forgets_where_the_show_was() -> None:
    rig = Rig()
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    rig.call("cue/release", 1.0)
    assert rig.automation.status()["cue"] == ""
    assert set(COMMANDS) >= {"cue/go", "cue/back", "cue/goto", "cue/release", "cue/record", "tap"}
