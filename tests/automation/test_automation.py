"""Cues, modulation and tempo together, as the stage calls them, on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.automation.automation import Automation
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.cue_messages import OscMessageOut
from lcm_daemon.automation.cue_store import CueStore
from lcm_daemon.automation.modulation import Modulator
from lcm_daemon.automation.recorded_cues import RecordedCues
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.requests import MAX_CUES, Change, CommandRequest, commands
from lcm_daemon.core.tempo import ExternalTempo, Tempo
from lcm_daemon.recipes.reader import load_recipe
from tests.core.test_requests import cases

CUES = (Cue("dawn", {"strength": 0.4, "prompt": "sunset"}, fade=4.0), Cue("ink", {"strength": 1.0}, recipe="ink"))
LFO = Modulator("slow", "strength", wave="square", depth=0.1, rate=0.0)


class Rig:
    def __init__(self, file: Path | None = None, modulators: tuple[Modulator, ...] = (),
                 cues: tuple[Cue, ...] = CUES) -> None:
        self.parameters, self.recipes = Parameters(), list[str]()
        self.automation = Automation(cues, modulators, self.parameters, self.recipes.append, file)
        self.parameters.start = {"strength": 0.0}
        self.parameters.replace_table({**TABLE, **self.automation.table})
        self.parameters.set("strength", 0.0, 0.0)

    def call(self, name: str, now: float, *arguments: Value) -> list[Change]:
        return self.automation.execute(CommandRequest(name, "osc/test", arguments), now)

    def step(self, now: float, external: ExternalTempo | None = None) -> list[tuple[str, object, str]]:
        return [(c.name, c.value, c.origin) for c in self.automation.update(now, None, external)]

    def start_recipe(self, name: str, now: float) -> list[tuple[str, object, str]]:
        own = INK if name == "ink" else {}
        self.parameters.replace_table({**TABLE, **self.automation.table, **own})
        return [(c.name, c.value, c.origin) for c in self.automation.recipe_started(name, now)]

    def strength(self, now: float) -> float:
        """With modulation."""
        return float(self.automation.evaluate(now)["strength"])


def test_go_starts_a_cue_and_returns_its_changes() -> None:
    rig = Rig()
    rig.call("cue/go", 10.0)
    assert rig.step(10.0) == [("strength", 0.4, "cue/dawn"), ("prompt", "sunset", "cue/dawn")]
    assert rig.parameters.evaluate(12.0)["strength"] == pytest.approx(0.2)
    assert rig.automation.status(11.0) == {
        "cue": "dawn", "next_cue": "", "upcoming_cue": "ink", "previous_cue": "", "fade": 0.25, "fade_left": 3.0,
        "paused": False, "cues": "dawn\nink", "cue_file": "", "tempo": "bpm"}


def test_a_cue_may_change_the_recipe() -> None:
    rig = Rig()
    rig.call("cue/goto", 0.0, "ink")
    rig.step(0.0)
    assert rig.recipes == ["ink"]


INK = {name: Parameter(name, "float", 0.5, "", -2.0, 2.0) for name in ("lora/a", "lora/b")}


def test_values_for_the_recipe_of_a_cue_are_applied_when_it_starts() -> None:
    rig = Rig(cues=(Cue("one", {"lora/a": 0.7, "mix": 0.5}, recipe="ink"), Cue("two", {"lora/b": 9.0}, recipe="ink")))
    rig.call("cue/go", 0.0)
    assert rig.step(0.0) == [("mix", 0.5, "cue/one")]
    rig.call("cue/go", 1.0)
    rig.step(1.0)
    assert rig.start_recipe("ink", 2.0) == [("lora/a", 0.7, "cue/one"), ("lora/b", 2.0, "cue/two")]
    assert (rig.parameters.targets()["lora/a"], rig.parameters.targets()["lora/b"]) == (0.7, 2.0)
    assert rig.start_recipe("plain", 3.0) == rig.start_recipe("ink", 4.0) == []


@pytest.mark.parametrize("end", [
    lambda rig: rig.automation.recipe_change_ended("ink", done=False),
    lambda rig: rig.automation.panic(),
    lambda rig: (rig.call("cue/goto", 1.0, "night"), rig.step(1.0)),
    lambda rig: (rig.call("cue/goto", 1.0, "home"), rig.step(1.0)),
], ids=["failed", "panic", "another cue", "back to the recipe that plays"])
def test_values_for_a_recipe_that_does_not_come_are_dropped(end: Callable[[Rig], object]) -> None:
    others = Cue("night", recipe="night"), Cue("home", recipe="home")
    rig = Rig(cues=(Cue("one", {"lora/a": 0.7}, recipe="ink"), *others))
    rig.automation.recipe = "home"
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    end(rig)
    assert rig.start_recipe("ink", 2.0) == []
    assert rig.parameters.targets()["lora/a"] == 0.5


def test_values_for_a_recipe_survive_other_ends() -> None:
    """The governor starts the present recipe in another size, and the end of another change is reported late."""
    rig = Rig(cues=(Cue("one", {"lora/a": 0.7, "gone": 1.0}, recipe="ink"),))
    rig.automation.recipe = "home"
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    rig.automation.recipe_change_ended("night", done=False)
    assert rig.automation.recipe_started("home", 1.0) == []
    assert rig.automation.recipe_started("night", 1.0) == rig.automation.recipe_started("home", 1.0) == []
    assert rig.start_recipe("ink", 2.0) == [("lora/a", 0.7, "cue/one")]
    rig.automation.recipe_change_ended("ink", done=True)
    assert rig.parameters.targets()["lora/a"] == 0.7


def test_a_cue_without_a_recipe_change_leaves_no_values_behind() -> None:
    rig = Rig(cues=(Cue("one", {"lora/a": 0.7}, recipe="home"),))
    rig.automation.recipe = "home"
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    assert rig.start_recipe("ink", 2.0) == rig.start_recipe("home", 3.0) == []


@pytest.mark.parametrize("name", commands())
def test_every_declared_command_has_one_handler(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the stage carries out itself has no handler here; it hands on everything else."""
    mine, rig = cases(Automation.execute), Rig(modulators=(LFO,))
    given = {"modulator/add": ("fast", "mix"), "modulator/remove": ("slow",),
             "cue/goto": ("ink",), "cue/load": ("ink",), "cue/record": ("new",), "next": ("strength", "0.5"),
             "cue/overwrite": ("ink",), "cue/fade": ("ink", 2.0), "cue/follow": ("ink", 2.0), "cue/move": ("ink", 1),
             "cue/duplicate": ("ink",), "cue/delete": ("new",), "cue/rename": ("new", "newer")}
    arguments = given.get(name, ())
    rig.call("cue/record", 0.0, "new")
    rig.call(name, 0.0, *arguments)
    assert bool(caplog.records) == (name not in mine)
    assert ("no handler" in caplog.text) == bool(caplog.records)


def test_a_value_that_was_set_since_the_tick_is_seen_and_waves_stand_still() -> None:
    rig = Rig(modulators=(Modulator("wave", "mix", wave="saw", rate=1.0, depth=0.5),))
    rig.parameters.set("mix", 0.5, 0.0)
    rig.automation.evaluate(0.0)
    ticked = rig.automation.evaluate(0.25)
    assert rig.automation.values is ticked, "nothing was set: nothing is computed"
    rig.parameters.set("strength", 0.9, 0.26)
    assert rig.automation.values["strength"] == 0.9
    assert rig.automation.values["mix"] == ticked["mix"]
    assert rig.automation.evaluate(0.5)["mix"] != ticked["mix"]


def test_goto_an_unknown_cue_logs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.call("cue/goto", 0.0, "dusk")
    assert rig.step(0.0) == []
    assert "cue/goto: no cue 'dusk'" in caplog.text


def test_a_quantised_go_waits_for_the_bar() -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    rig.step(0.5)
    rig.call("cue/go", 0.5)
    assert rig.automation.status(0.0)["next_cue"] == "dawn"
    assert rig.step(1.9) == []
    assert rig.step(2.0)[0][2] == "cue/dawn"
    assert rig.automation.status(0.0)["next_cue"] == ""


@pytest.mark.parametrize(("command", "name"), [
    (("cue/back",), "dawn"), (("cue/goto", "dawn"), "dawn"), (("cue/goto", "ink"), "ink"),
    (("cue/goto", "none such"), ""), (("cue/go",), ""),
])
def test_the_status_names_the_cue_that_waits_for_the_beat(command: tuple[str, ...], name: str) -> None:
    rig = Rig()
    rig.call("cue/goto", 0.0, "ink")
    rig.step(0.0)
    rig.parameters.set("quantise", "bar", 0.0)
    rig.step(0.5)
    rig.call(command[0], 0.5, *command[1:])
    assert rig.automation.status(0.0)["next_cue"] == name


def test_taps_and_the_parameter_set_the_tempo() -> None:
    rig = Rig()
    for number in range(4):
        rig.call("tap", 10.0 + number * 0.4)
    assert rig.parameters.targets()["bpm"] == pytest.approx(150.0)
    rig.parameters.set("bpm", 90.0, 12.0)
    rig.step(12.0)
    assert rig.automation.tempo.bpm == 90.0


def test_modulation_is_added_to_the_fade_of_a_cue() -> None:
    rig = Rig(modulators=(LFO,))
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    assert rig.strength(2.0) == pytest.approx(0.3)


def test_a_recorded_cue_is_stored_next_to_the_show(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "mirror.yaml")
    rig.parameters.set("strength", 0.7, 0.0)
    rig.parameters.set("prompt", "lava", 0.0)
    rig.call("cue/record", 0.0, "found")
    assert rig.automation.status(0.0)["cues"] == "dawn\nink\nfound"
    rig.automation.close()
    again = Rig(tmp_path / "mirror.yaml")
    again.call("cue/goto", 0.0, "found")
    changes = again.step(0.0)
    assert ("strength", 0.7, "cue/found") in changes
    assert ("prompt", "lava", "cue/found") in changes
    assert again.parameters.evaluate(5.0)["prompt"] == "lava"
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.cues.yaml"]


def test_a_recorded_cue_has_every_value_and_the_recipe_but_not_the_tempo(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "mirror.yaml", modulators=(Modulator("loud", "strength", wave="follow"),))
    rig.automation.recipe = "ink"
    for name, value in (("bpm", 132.0), ("quantise", "bar"), ("mod/loud/level", 0.8), ("mod/loud/depth", 0.3)):
        rig.parameters.set(name, value, 0.0)
    rig.call("cue/record", 0.0, "calm")
    cue = rig.automation.cue_list.cues[-1]
    assert cue.recipe == "ink"
    assert cue.values["strength"] == 0.0, "values that were never set are recorded too"
    assert cue.values["mod/loud/depth"] == 0.3
    assert not {"bpm", "quantise", "mod/loud/level"} & cue.values.keys()
    rig.parameters.set("strength", 0.95, 0.0)
    rig.parameters.set("quantise", "off", 0.0)
    rig.call("cue/goto", 0.0, "calm")
    assert ("strength", 0.0, "cue/calm") in rig.step(0.0)
    rig.parameters.reset("panic")
    assert (rig.parameters.targets()["bpm"], rig.parameters.targets()["mod/loud/level"]) == (132.0, 0.8)


def test_a_locked_seed_and_a_blackout_stay_through_cues_and_are_not_recorded() -> None:
    rig = Rig(cues=(Cue("dawn", {"strength": 0.4, "seed": 7}),))
    for name, value in (("seed", 3), ("seed_lock", True), ("blackout", True)):
        rig.parameters.set(name, value, 0.0)
    rig.call("cue/record", 0.0, "dark")
    assert not {"seed_lock", "blackout"} & rig.automation.cue_list.cues[-1].values.keys()
    rig.call("cue/goto", 0.0, "dawn")
    assert [name for name, *_ in rig.step(0.0)] == ["strength"]
    rig.parameters.set("seed_lock", False, 0.0)
    rig.call("cue/goto", 1.0, "dawn")
    assert ("seed", 7, "cue/dawn") in rig.step(1.0)
    rig.parameters.reset("panic")
    assert rig.parameters.targets()["blackout"] is False


def test_a_cue_of_the_show_that_is_recorded_again_keeps_its_settings(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "mirror.yaml")
    rig.parameters.set("strength", 0.7, 0.0)
    rig.call("cue/record", 0.0, "dawn")
    dawn, ink = rig.automation.cue_list.cues
    assert (dawn.values["strength"], dawn.fade, ink) == (0.7, 4.0, CUES[1])
    rig.automation.close()
    assert [cue.name for cue in CueStore(tmp_path / "mirror.yaml").read().cues] == ["dawn"], "the rest is in the show"


@pytest.mark.slow
def test_a_flood_of_recordings_is_limited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(tmp_path / "mirror.yaml")
    for number in range(MAX_CUES + 100):
        rig.parameters.set("strength", number % 7 / 7, 0.0)
        rig.call("cue/record", 0.0, f"look {number}")
    rig.parameters.set("strength", 0.55, 0.0)
    rig.call("cue/record", 0.0, "look 0")
    rig.automation.close()
    again = Rig(tmp_path / "mirror.yaml")
    assert len(again.automation.cue_list.cues) == MAX_CUES
    again.call("cue/goto", 0.0, "look 0")
    assert ("strength", 0.55, "cue/look 0") in again.step(0.0)
    assert 0 < caplog.text.count("is not recorded") < 50


def test_a_refused_value_in_the_file_is_skipped_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "mirror.cues.yaml").write_text("- {name: found, values: {strength: high, mix: 0.5, gone: 1}}")
    rig = Rig(tmp_path / "mirror.yaml")
    rig.call("cue/goto", 0.0, "found")
    assert rig.step(0.0) == [("mix", 0.5, "cue/found")]
    assert "cue/found: strength takes a number, not 'high'" in caplog.text


def test_a_flood_of_unknown_cues_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    for number in range(1000):
        rig.call("cue/goto", 0.0, f"{number}")
    assert 0 < len(caplog.records) <= 50


def test_release_leaves_the_cue_list() -> None:
    rig = Rig()
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    rig.call("cue/release", 1.0)
    assert rig.automation.status(0.0)["cue"] == ""


@pytest.mark.parametrize(("quantise", "due"), [("off", 2.0), ("beat", 1.0), ("bar", 2.0)])
def test_next_sets_a_parameter_on_the_bar_or_the_beat(quantise: str, due: float) -> None:
    rig = Rig()
    rig.parameters.set("quantise", quantise, 0.0)
    rig.step(0.7)
    for name, value in (("strength", "0.2"), ("prompt", "lava"), ("strength", "0.9")):
        rig.call("next", 0.7, name, value)
    assert rig.step(due - 0.01) == []
    assert rig.step(due) == [("strength", 0.9, "osc/test"), ("prompt", "lava", "osc/test")]
    assert rig.parameters.origin("prompt") == "osc/test"


def test_next_and_go_wait_for_the_same_bar_and_panic_cancels_both() -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    rig.step(0.5)
    for _ in range(2):
        rig.call("next", 0.5, "mix", "0.5")
        rig.call("cue/go", 0.5)
        assert rig.automation.status(0.0)["next_cue"] == "dawn"
        rig.automation.panic()
        assert rig.step(2.5) == []


def test_next_with_an_unknown_name_or_a_refused_value_is_logged_rarely(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.step(0.5)
    for number in range(300):
        rig.call("next", 0.5, f"nothing {number}", "1")
    rig.call("next", 0.5, "nothing 1", "2")
    assert rig.step(2.0) == []
    rig.call("next", 2.5, "strength", "high")
    rig.call("next", 2.5, "mix", "0.25")
    assert rig.step(4.0) == [("mix", 0.25, "osc/test")]
    assert "next: no parameter 'nothing 0'" in caplog.text
    assert len(caplog.records) < 50


# An external clock

BAR = Modulator("bar", "strength", wave="saw", beats=4.0, depth=0.5)  # from 0 to 1 in a bar, around 0.5


def report(rig: Rig, now: float, bpm: float, beat: float, running: bool = True) -> list[tuple[str, object, str]]:
    return rig.step(now, external=ExternalTempo(Tempo(bpm, beat, now, running), "midi/clock"))


def test_waves_follow_the_beat_of_an_external_clock_and_bpm_its_tempo() -> None:
    rig = Rig(modulators=(BAR,))
    rig.parameters.set("strength", 0.5, 0.0)
    assert report(rig, 10.0, 133.337, 8.0) == [("bpm", 133.3, "midi/clock")]
    assert rig.parameters.origin("bpm") == "midi/clock"
    assert rig.step(10.1, external=ExternalTempo(Tempo(133.337, 8.0, 10.0), "midi/clock")) == [], "the same report"
    for beat in (8.0, 9.0, 10.5, 11.9):
        now = 10.0 + (beat - 8.0) * 60.0 / 133.337
        assert rig.strength(now) == pytest.approx(beat % 4.0 / 4.0, abs=1e-6)


def test_stop_holds_the_wave_and_start_restarts_the_bar() -> None:
    rig = Rig(modulators=(BAR,))
    rig.parameters.set("strength", 0.5, 0.0)
    report(rig, 10.0, 120.0, 9.0)
    report(rig, 10.5, 120.0, 10.0, running=False)
    assert rig.strength(11.0) == rig.strength(70.0) == pytest.approx(0.5)
    report(rig, 80.0, 120.0, 0.0)
    assert rig.strength(80.5) == pytest.approx(0.25)


def test_a_small_correction_never_moves_a_wave_backwards() -> None:
    rig = Rig(modulators=(BAR,))
    rig.parameters.set("strength", 0.5, 0.0)
    report(rig, 10.0, 120.0, 0.0)
    assert rig.strength(12.001) == pytest.approx(0.0005), "the next bar has begun"
    report(rig, 12.002, 120.0, 3.99)  # the clock reports a position just before it
    assert rig.strength(12.002) == rig.strength(12.003) == pytest.approx(0.0005)
    assert rig.strength(12.102) == pytest.approx(0.0475)


def test_a_controller_sets_the_tempo_between_two_reports_of_the_clock() -> None:
    rig = Rig()
    report(rig, 10.0, 120.0, 0.0)
    rig.parameters.set("bpm", 60.0, 10.0, "panel/1")
    rig.step(10.0)
    assert rig.automation.tempo.beat_at(11.0) == pytest.approx(1.0)
    assert report(rig, 11.0, 120.0, 2.0) == [("bpm", 120.0, "midi/clock")]
    assert rig.automation.tempo.beat_at(12.0) == pytest.approx(4.0)


def test_a_quantised_go_waits_for_the_bar_of_the_external_clock() -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    report(rig, 10.0, 120.0, 5.0)
    rig.call("cue/go", 10.0)
    report(rig, 10.5, 60.0, 6.0)  # it slows down
    assert rig.step(12.4) == []
    assert rig.step(12.5)[0][2] == "cue/dawn"


def test_a_quantised_go_starts_when_the_clock_restarts() -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    report(rig, 10.0, 120.0, 101.0)
    rig.call("cue/go", 10.0)
    assert report(rig, 10.1, 120.0, 0.0)[0][2] == "cue/dawn"


def test_nothing_waits_for_a_stopped_clock() -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    report(rig, 10.0, 120.0, 5.0, running=False)
    rig.call("cue/go", 11.0)
    assert rig.step(11.0)[0][2] == "cue/dawn"


@pytest.mark.parametrize("stop", [lambda rig: rig.call("cue/release", 0.6), lambda rig: rig.automation.panic()])
def test_release_and_panic_cancel_a_waiting_go(stop: Callable[[Rig], None]) -> None:
    rig = Rig()
    rig.parameters.set("quantise", "bar", 0.0)
    rig.step(0.5)
    rig.call("cue/go", 0.5)
    stop(rig)
    assert rig.step(2.0) == []
    assert rig.automation.status(0.0)["next_cue"] == ""


def test_after_panic_no_cue_is_lit_and_go_starts_the_cue_after_the_last() -> None:
    rig = Rig()
    rig.call("cue/go", 0.0)
    rig.step(0.0)
    rig.automation.panic()
    assert rig.automation.status(0.0)["cue"] == ""
    rig.call("cue/go", 1.0)
    rig.step(1.0)
    assert rig.automation.status(0.0)["cue"] == "ink"


def test_a_cue_without_a_name_is_not_recorded(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.call("cue/record", 0.0, "")
    assert rig.automation.status(0.0)["cues"] == "dawn\nink"
    assert "cue/record: a cue needs a name" in caplog.text


class FakeSources:
    """Stands where the stage's Inputs do."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str]] = []
        self.playing = {"source": "wide", "guide": "show"}

    def change(self, kind: str, name: str, origin: str, now: float) -> None:
        self.changes.append((kind, name, origin))

    def names(self) -> dict[str, str]:
        return self.playing


def test_a_cue_changes_source_and_guide_and_a_recorded_one_keeps_those_that_play(tmp_path: Path) -> None:
    sources = FakeSources()
    cues = (Cue("one", source="wide"), Cue("two", {"strength": 0.5}), Cue("three", source="ndi CAM 1", guide="film"))
    automation = Automation(cues, (), Rig().parameters, [].append, tmp_path / "show.yaml", sources=sources)
    for _ in cues:
        automation.execute(CommandRequest("cue/go", "osc/test"), 0.0)
        automation.update(0.0, None)
    assert sources.changes == [
        ("source", "wide", "cue/one"), ("source", "ndi CAM 1", "cue/three"), ("guide", "film", "cue/three"),
    ]
    automation.execute(CommandRequest("cue/record", "osc/test", ("new",)), 0.0)
    automation.execute(CommandRequest("cue/record", "osc/test", ("three",)), 0.0)
    automation.close()
    again = Automation(cues, (), Rig().parameters, [].append, tmp_path / "show.yaml")
    assert [(cue.name, cue.source, cue.guide) for cue in again.cue_list.cues[2:]] == [
        ("three", "wide", "show"), ("new", "wide", "show"),
    ]
    look = automation.current_look(load_recipe("builtin"))
    assert (look.source, look.guide) == ("wide", "show")


def test_without_other_sources_a_recorded_cue_and_a_look_name_none(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "show.yaml")
    rig.call("cue/record", 0.0, "new")
    rig.automation.close()
    assert "source" not in (tmp_path / "show.cues.yaml").read_text()
    assert rig.automation.current_look(load_recipe("builtin")).source == ""


def test_a_recorded_cue_keeps_its_settings_and_sends_only_where_the_show_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    light, away = OscMessageOut("/go", (), "127.0.0.1", 8000), OscMessageOut("/go", (), "127.0.0.1", 9999)
    cues = (Cue("dawn", {"strength": 0.4}, fades={"strength": 2.0}, auto_continue=5.0, send=(light,)),)
    rig = Rig(tmp_path / "mirror.yaml", cues=cues)
    rig.call("cue/record", 0.0, "dawn")
    rig.automation.close()
    again = Rig(tmp_path / "mirror.yaml", cues=cues).automation.cue_list.cues[0]
    assert (again.fades, again.auto_continue, again.send) == ({"strength": 2.0}, 5.0, (light,))
    store = CueStore(tmp_path / "mirror.yaml")
    store.read()
    store.write(RecordedCues.of([replace(again, send=(light, away))]))
    store.close()
    assert Rig(tmp_path / "mirror.yaml", cues=cues).automation.cue_list.cues[0].send == (light,)
    assert "dawn: its message to '127.0.0.1:9999' is not sent: the show does not name it" in caplog.text


@pytest.mark.parametrize(("given", "name"), [(4.099999904632568, "4.1"), ("act one", "act one"), (7, "7")])
def test_a_cue_is_recorded_under_a_number_as_people_write_it(given: Value, name: str) -> None:
    rig = Rig()
    rig.call("cue/record", 0.0, str(given))
    rig.call("cue/goto", 0.0, str(given))
    rig.step(0.0)
    assert rig.automation.status(0.0)["cue"] == name
