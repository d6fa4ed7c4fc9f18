"""Who set a parameter last, and what moves it around that."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.automation.modulation import FOLLOWER, Modulation, Modulator, table_of_modulators
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.origins import describe_origin
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import ParameterState
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.value_origin import describe_last_move, parameter_states, start_origins

SLOW = Modulator("slow", "strength", wave="square", depth=0.1, rate=0.0)
MODULATORS = (SLOW, Modulator("loud", "strength", FOLLOWER), Modulator("flat", "strength", depth=0.0))


@pytest.mark.parametrize(("origin", "said"), [
    ("osc/192.168.1.7:52311", "osc 192.168.1.7"), ("osc/tcp/10.0.0.2:9000", "osc 10.0.0.2"), ("oscquery/2", "oscquery"),
    ("midi/nanoKONTROL2/cc 0", "midi nanoKONTROL2"), ("midi/clock", "midi clock"), ("panel/3", "page"),
    ("cue/Ocean / slow", 'cue "Ocean / slow"'), ("panic/midi/MIDImix/note 25", "panic, midi MIDImix"),
    ("recipe", "recipe"), ("link", "link"), ("", ""),
])
def test_an_origin_as_a_person_says_it(origin: str, said: str) -> None:
    assert describe_origin(origin) == said


def test_where_a_parameter_starts_is_the_shows_the_recipes_or_nobodys_word(tmp_path: Path) -> None:
    file = tmp_path / "show.yaml"
    file.write_text("recipe: {base: builtin, parameters: {steps: 3}}\nparameters: {strength: 0.4}\n"
                    "modulation: [{name: slow, to: mix}]")
    show = load_show(file, environment={})
    begun = start_origins(show.table(show.recipe), {"strength", "mod/slow/rate"}, show.recipe)
    names = ("strength", "mod/slow/rate", "steps", "lora/ink", "bpm", "mix")
    assert [begun[name] for name in names] == ["show", "show", "recipe", "recipe", "default", "default"]
    assert begun.keys() == show.table(show.recipe).keys()


def test_every_parameter_has_its_row() -> None:
    parameters = Parameters({**TABLE, **table_of_modulators(MODULATORS)}, {"strength": 0.5, "prompt": "ocean"})
    parameters.set("prompt_glide", 10.0, 0.0, "panel/1")
    parameters.set("prompt", "lava", 0.0, "osc/127.0.0.1:5000")
    modulation, values = Modulation(MODULATORS), parameters.evaluate(2.5)
    modulation.advance(values, 0.0, 2.5)
    moved = modulation.add_to(values, parameters.table)
    rows = parameter_states(parameters, moved, {**moved, "steps": 1}, {"strength": "show"}, MODULATORS)
    assert rows.keys() == parameters.table.keys()
    assert rows["strength"] == ParameterState(0.5, pytest.approx(0.6), "show, lfo slow, follower loud")  # type: ignore[arg-type]
    assert rows["prompt"] == ParameterState("lava", "ocean::0.75 lava::0.25", "osc 127.0.0.1")
    assert rows["prompt_glide"].by == "page"
    assert rows["steps"] == ParameterState(2, 1, "default, governor")


def test_a_panic_is_who_set_what_it_changed_and_nothing_else() -> None:
    parameters = Parameters()
    assert describe_last_move(parameters) == ""
    parameters.set("strength", 0.9, 0.0, "midi/MIDImix/cc 1")
    parameters.set("steps", TABLE["steps"].default, 0.0, "panel/1")
    assert describe_last_move(parameters) == "steps: page"
    parameters.reset("panic/panel/2")
    assert [parameters.origin(name) for name in ("strength", "steps", "mix")] == ["panic/panel/2", "panel/1", ""]
