"""The crossfader, as the stage moves it, on a simulated clock."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.automation.automation import Automation
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.automation.look import Look
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.recipes.reader import load_recipe

DAWN = Cue("dawn", {"strength": 0.2, "prompt": "sunset", "seed": 1, "steps": 1, "freeze": False})
STORM = Cue("storm", {"strength": 0.8, "prompt": "rain", "seed": 2, "steps": 5, "freeze": True}, fade=60.0, follow=1.0)
NIGHT = Cue("night", {"strength": 0.0}, delay=30.0)


class Desk:
    def __init__(self, *cues: Cue, loop: bool = False) -> None:
        self.parameters = Parameters()
        self.automation = Automation(cues or (DAWN, STORM, NIGHT), (), self.parameters, lambda recipe: None, loop=loop)
        self.parameters.replace_table({**TABLE, **self.automation.table})
        self.automation.update(0.0, None)

    def call(self, name: str, now: float = 0.0, *arguments: Value) -> None:
        self.automation.execute(CommandRequest(name, "osc/test", arguments), now)
        self.automation.update(now, None)

    def fader(self, position: float, now: float = 0.0) -> dict[str, Value]:
        self.parameters.set("cue/crossfade", position, now, "osc/test")
        return {change.name: change.value for change in self.automation.update(now, None)}

    def value(self, name: str, now: float = 0.0) -> Any:
        return self.parameters.evaluate(now)[name]

    def status(self, name: str) -> Value:
        return self.automation.status(0.0)[name]


def test_it_goes_from_the_current_look_to_the_next_cue() -> None:
    desk = Desk()
    desk.call("cue/go")
    assert desk.fader(0.25) == {"strength": pytest.approx(0.35), "steps": 2, "freeze": True}
    assert desk.value("seed") == Blend(((1, 0.75), (2, 0.25)))
    assert desk.value("prompt") == Blend((("sunset", 0.75), ("rain", 0.25)))
    assert (desk.status("cue"), desk.status("next_cue"), desk.status("fade")) == ("dawn", "storm", 0.25)
    desk.fader(0.75)
    assert dict(desk.value("prompt").parts) == {"sunset": 0.25, "rain": 0.75}
    assert desk.parameters.targets()["prompt"] == "rain", "the nearer one"
    assert desk.fader(1.0)["strength"] == 0.8
    assert [desk.value(name) for name in STORM.values] == list(STORM.values.values())
    assert (desk.status("cue"), desk.status("next_cue"), desk.status("fade")) == ("storm", "", 1.0)


def test_a_cue_draws_a_seed_each_time_it_starts_and_once_for_a_crossfade() -> None:
    desk = Desk(Cue("dawn", {"seed": -1}), Cue("storm", {"seed": -1}))
    drawn = []
    for _ in range(3):
        desk.call("cue/goto", 0.0, "dawn")
        drawn.append(desk.value("seed"))
    assert len(set(drawn)) == 3
    assert min(drawn) >= 0
    desk.fader(0.25)
    blend = desk.value("seed")
    desk.fader(0.75)
    assert dict(desk.value("seed").parts) == pytest.approx({drawn[2]: 0.25, blend.parts[1][0]: 0.75})
    desk.fader(1.0)
    assert desk.value("seed") == blend.parts[1][0]


def test_the_next_crossfade_goes_back() -> None:
    desk = Desk()
    desk.call("cue/go")
    desk.fader(1.0)
    assert desk.status("cue") == "storm"
    desk.fader(0.5)
    assert desk.value("strength") == pytest.approx(0.4)
    desk.fader(0.0)
    assert (desk.status("cue"), desk.value("strength")) == ("night", 0.0)
    assert desk.fader(0.5) == {}, "the end of the list"


def test_back_at_its_beginning_everything_is_as_it_was() -> None:
    desk = Desk()
    desk.call("cue/go")
    desk.fader(0.6)
    desk.fader(0.0)
    assert [desk.value(name) for name in DAWN.values] == list(DAWN.values.values())
    assert desk.status("cue") == "dawn"
    desk.fader(1.0)
    assert desk.status("cue") == "storm"


def test_a_value_that_a_hand_moves_is_left_alone() -> None:
    desk = Desk()
    desk.call("cue/go")
    desk.fader(0.5)
    desk.parameters.move("strength", 0.99, 0.0, "osc/hand")
    assert "strength" not in desk.fader(0.7)
    desk.fader(1.0)
    assert (desk.value("strength"), desk.value("steps"), desk.status("cue")) == (0.99, 5, "storm")


def test_it_takes_a_fade_over_from_where_it_is() -> None:
    desk = Desk(Cue("a", {"mix": 0.0}, fade=10.0), Cue("b", {"mix": 1.0}))
    desk.call("cue/go")
    assert desk.fader(0.5, 5.0) == {"mix": 0.75}
    assert desk.value("mix", 9.0) == 0.75


@pytest.mark.parametrize("command", ["cue/go", "cue/back"])
def test_another_cue_ends_the_crossfade(command: str) -> None:
    desk = Desk()
    desk.call("cue/goto", 0.0, "storm")
    desk.fader(0.5)
    desk.call(command)
    desk.automation.update(30.0, None)
    held = desk.value("strength", 30.0)
    assert desk.fader(0.6, 30.0) == {}
    assert desk.value("strength", 30.0) == held
    desk.fader(1.0, 30.0)
    desk.fader(0.5, 30.0)
    assert desk.status("next_cue") == ("" if command == "cue/go" else "storm"), "it begins again at its end"


def test_panic_and_stop_end_it() -> None:
    for command in ("cue/stop", "panic"):
        desk = Desk()
        desk.fader(0.5)
        if command == "panic":
            desk.automation.panic()
            desk.parameters.reset()
        else:
            desk.call(command)
        assert (desk.status("next_cue"), desk.fader(0.6)) == ("", {})


def test_it_goes_to_the_loaded_cue_and_around_a_loop() -> None:
    desk = Desk(loop=True)
    desk.call("cue/go")
    desk.call("cue/load", 0.0, "night")
    desk.fader(1.0)
    assert (desk.status("cue"), desk.status("upcoming_cue")) == ("night", "dawn")
    desk.fader(0.0)
    assert desk.status("cue") == "dawn"


def test_an_automatic_go_waits_for_no_fader() -> None:
    desk = Desk(Cue("a", {"mix": 0.0}, follow=1.0), Cue("b", {"mix": 1.0}), Cue("c"))
    desk.call("cue/go")
    desk.fader(0.5)
    desk.automation.update(60.0, None)
    assert (desk.status("cue"), desk.value("mix", 60.0)) == ("a", 0.5)


def test_after_a_power_cut_the_fader_rests_where_it_was() -> None:
    desk = Desk()
    look = Look("builtin", (64, 64), "dawn", {"cue/crossfade": 1.0})
    desk.automation.restore(look, 0.0)
    assert desk.automation.update(0.0, None) == []
    assert desk.automation.current_look(load_recipe("builtin")).values["cue/crossfade"] == 1.0
    desk.fader(0.75)
    assert desk.status("next_cue") == "storm"
    assert desk.value("strength") == pytest.approx(0.6 + 0.25 * 0.2)


def test_a_refused_value_of_a_recorded_cue_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(Cue("bad", {"strength": "high", "mix": 0.5}))
    assert desk.fader(0.5) == {"mix": 0.75}
    assert desk.fader(1.0) == {"mix": 0.5}
    assert caplog.text.count("strength takes a number, not 'high'") == 1
