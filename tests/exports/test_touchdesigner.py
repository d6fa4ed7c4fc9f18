"""The component for TouchDesigner, built on a stand-in that knows the documented names only."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.controllers.oscquery.tree import build_tree, method_nodes
from lcm_daemon.controllers.panel.messages import describe_table
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.exports.surface import Surface, SurfaceEnd
from lcm_daemon.exports.touchdesigner import build
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import parameter_table
from lcm_daemon.shows.surface import surface_of
from tests.rigs.standin_touchdesigner import CLASSES, COMP, Page, Par, World, undocumented


@pytest.fixture(scope="module")
def surface() -> Surface:
    return replace(surface_of(load_show("demo")), cues=("Intro", "Storm"))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def lcm(world: World, surface: Surface) -> COMP:
    comp = world.run_script(build(surface).decode())
    world.frame()
    world.taken()
    return comp


def page(comp: COMP, name: str) -> Page:
    return next(page for page in comp.customPages if page.name == name)


def by_label(comp: COMP, page_name: str, label: str) -> Par:
    return next(par for par in page(comp, page_name).pars if par.label == label)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_stand_in_has_documented_names_only(kind: type) -> None:
    assert not undocumented(kind)


def test_every_parameter_is_there_with_range_default_menu_and_help(lcm: COMP, surface: Surface) -> None:
    shown = {par.label: par for par in lcm.customPars}
    for control in surface.controls():
        par = shown[control.label]
        assert par.page.name == control.parameter.group
        assert par.help == control.parameter.description
        assert par.default == control.value
        if control.kind == "menu":
            assert tuple(par.menuNames) == control.parameter.choices
        elif control.kind in ("fader", "number"):
            assert (par.min, par.max) == (control.low, control.high) == (par.normMin, par.normMax)
            assert par.clampMin
            assert par.clampMax


def test_building_sends_nothing_but_a_subscription(world: World, surface: Surface) -> None:
    world.run_script(build(surface).decode())
    world.frame()
    world.frame()
    assert world.taken() == [("/lcm/subscribe", [9001, 60])]
    assert world.receivers == [("127.0.0.1", 9000)]


def test_running_it_twice_doubles_nothing_and_keeps_values(world: World, lcm: COMP, surface: Surface) -> None:
    lcm.par.Strength.val, lcm.par.Port.val = 0.25, 9100
    mine = lcm.appendCustomPage("Mine")
    mine.appendFloat("Myown")
    inside, pars = sorted(op.name for op in lcm.children), sorted(par.name for par in lcm.customPars)
    assert world.run_script(build(surface).decode()) is lcm
    assert sorted(op.name for op in lcm.children) == inside
    assert sorted(par.name for par in lcm.customPars) == pars
    assert [op.name for op in world.home.children] == ["text1", "lcm"]
    assert (lcm.par.Strength.eval(), lcm.par.Port.eval()) == (0.25, 9100)


def test_pictures_go_in_and_out(lcm: COMP) -> None:
    assert lcm.op("out1").inputConnectors[0].owner._inputs[0] is lcm.op("choose")
    assert lcm.op("receive_ndi") is lcm.op("choose")._inputs[1]
    assert lcm.op("send_local").par.sendername.eval() == "td"
    lcm.par.Transport.val = "ndi"
    lcm._world.frame()
    assert lcm.op("choose").par.index.eval() == 1
    assert lcm.op("receive_ndi").par.name.eval().endswith(" (lcm)")
    assert lcm.op("send_ndi").par.active.eval() is True
    assert lcm.op("send_local").par.active.eval() is False


def test_names_of_pictures_are_those_of_the_show(world: World, surface: Surface) -> None:
    ends = tuple(SurfaceEnd(kind, "wall") for kind in ("spout", "syphon"))
    other = replace(surface, inputs=tuple(SurfaceEnd(kind, "mixer") for kind in ("spout", "syphon")), outputs=ends)
    comp = world.run_script(build(other).decode())
    assert comp.par.Sendas.eval() == "mixer"
    assert comp.par.Receivefrom.eval().split(":")[-1] == "wall"


def test_a_show_that_plays_ndi_is_sent_ndi(world: World, surface: Surface) -> None:
    comp = world.run_script(build(replace(surface, inputs=(SurfaceEnd("ndi", "td"),))).decode())
    assert (comp.par.Transport.eval(), comp.par.Sendas.eval()) == ("ndi", "td")
    assert comp.par.Receivefrom.eval().endswith(" (lcm)")
    comp.par.Sendas.val = "mine"
    world.frame()
    assert comp.par.Sendas.eval() == "mine"


def test_a_value_that_is_set_is_sent_once_and_one_that_was_heard_is_not(world: World, lcm: COMP) -> None:
    lcm.par.Strength.val = 0.8
    lcm.par.Freeze.val = True
    lcm.par.Noise.val = "walking"
    lcm.par.Prompt.val = "lava"
    world.frame()
    assert sorted(world.taken()) == [("/lcm/freeze", [1]), ("/lcm/noise", ["walking"]), ("/lcm/prompt", ["lava"]),
                                     ("/lcm/strength", [0.8])]
    world.deliver(lcm, "/lcm/strength", 0.30000001192092896)
    world.deliver(lcm, "/lcm/seed", 2**40)  # more than a parameter holds
    world.deliver(lcm, "/lcm/seed_lock", True)
    world.frame()
    assert not world.taken()
    assert (round(lcm.par.Strength.eval(), 6), lcm.par.Seed.eval(), lcm.par.Seedlock.eval()) == (0.3, 2**31 - 1, True)


def test_an_expression_leads_and_stays(world: World, lcm: COMP, surface: Surface) -> None:
    lcm.par.Strength.expr = "0.25 + 0.5"
    world.deliver(lcm, "/lcm/strength", 0.1)
    assert world.taken() == [("/lcm/strength", [0.75])]
    world.run_script(build(surface).decode())
    assert (lcm.par.Strength.expr, lcm.par.Strength.eval()) == ("0.25 + 0.5", 0.75)


@pytest.mark.parametrize("arguments", [0, 1])
def test_both_documented_forms_of_the_callback_are_taken(world: World, lcm: COMP, arguments: int) -> None:
    names = world.names_of(lcm.op("parameters"))
    exec(lcm.op("parameters").text, names)
    lcm.par.Mix.val = 0.1
    names["onValueChange"](lcm.par.Mix, *[0.1, 1.0][:arguments + 1])  # (par, prev) or (par, val, prev)
    assert world.taken() == [("/lcm/mix", [0.1])]


def test_pulses_give_commands(world: World, lcm: COMP) -> None:
    by_label(lcm, "Cues", "Storm").pulse()
    by_label(lcm, "Buttons", "Panic").pulse()
    by_label(lcm, "Prompts", "bricks, gold").pulse()
    by_label(lcm, "Daemon", "Send this picture").pulse()
    assert world.taken() == [("/lcm/cue/goto", ["Storm"]), ("/lcm/panic", [1]), ("/lcm/prompts/play", [5.0]),
                             ("/lcm/source", ["syphon td"])]


def test_the_status_is_a_table_and_numbers(world: World, lcm: COMP) -> None:
    world.deliver(lcm, "/lcm/status/fps", 29.5)
    world.deliver(lcm, "/lcm/status/fps", 30.0)
    world.deliver(lcm, "/lcm/status/paused", False)
    world.deliver(lcm, "/lcm/status/engine", "rendering")
    assert lcm.op("status")._rows == [["name", "value"], ["fps", "30.0"], ["paused", "0"], ["engine", "rendering"]]
    assert lcm.op("numbers")._rows == [["fps", "30.0"], ["paused", "0.0"]]
    assert lcm.op("channels").par.dat.eval() == "numbers"
    world.deliver(lcm, "/lcm/error", "strength takes a number")
    assert lcm.par.State.eval() == "strength takes a number"


def test_a_daemon_that_ends_is_noticed_and_asked_again(world: World, lcm: COMP) -> None:
    world.deliver(lcm, "/lcm/status/fps", 30.0)
    world.frame(0.1)
    assert lcm.par.Alive.eval() is True
    assert not world.taken()
    world.frame(3.5)
    assert lcm.par.Alive.eval() is False
    assert world.taken() == [("/lcm/subscribe", [9001, 60])]
    world.frame(0.1)
    assert not world.taken()
    world.frame(2.0)
    assert world.taken() == [("/lcm/subscribe", [9001, 60])]
    asked = len(world.requests)
    world.deliver(lcm, "/lcm/status/fps", 30.0)
    world.frame(2.0)
    assert len(world.requests) == asked + 1  # it may play another show


def test_looks_that_are_recorded_get_a_pulse(world: World, lcm: COMP) -> None:
    world.deliver(lcm, "/lcm/status/cues", "Intro\nNew look")
    assert [par.label for par in page(lcm, "Cues").pars] == ["Intro", "New look"]
    by_label(lcm, "Cues", "New look").pulse()
    assert world.taken() == [("/lcm/cue/goto", ["New look"])]


def state_of(recipe: str) -> ControlState:
    table = parameter_table([load_recipe(recipe)], ())
    return ControlState(table, {name: each.default for name, each in table.items()}, Metrics(), lambda: None)


def of_query(controls: ControlState) -> Any:
    return build_tree(method_nodes(controls))["CONTENTS"]["lcm"]


@pytest.mark.parametrize("describe", [of_query, describe_table])
def test_another_recipe_changes_the_pages(world: World, lcm: COMP, describe: Any) -> None:
    lcm.par.Strength.val = 0.4
    lcm.par["Loraneon"].val = 1.0
    world.deliver(lcm, "/lcm/status/fps", 30.0)
    world.deliver(lcm, "/lcm/status/recipe", "passthrough")
    world.frame(0.0)
    assert lcm.par.Recipe.eval() == "passthrough"
    assert world.requests == [("http://127.0.0.1:8000/parameters.json", "GET")]
    world.taken()
    controls = state_of("sd-turbo-canny")
    world.respond(lcm, 200, json.dumps(describe(controls)))
    assert lcm.par["Loraneon"] is None
    assert world.taken() == [("/lcm/unsubscribe", [9001])]  # and then all values are asked for
    names = {par.label for par in lcm.customPars}
    assert all(name.replace("/", " ").replace("_", " ").capitalize() in names for name in controls.table)
    world.frame()
    assert world.taken() == [("/lcm/subscribe", [9001, 60])]
    world.respond(lcm, 200, json.dumps(describe(controls)))
    assert not world.taken()  # the same parameters: nothing is built
    lcm.par.Strength.val = 0.9
    world.frame()
    assert world.taken() == [("/lcm/strength", [0.9])]


@pytest.mark.parametrize(("host", "asked"), [
    ("239.0.0.7", "http://10.0.0.5:8000"), ("stage", "http://stage:8000"), ("fd00::1", "http://[fd00::1]:8000")])
def test_the_parameters_are_asked_for_where_the_daemon_is(
    world: World, surface: Surface, host: str, asked: str
) -> None:
    lcm = world.run_script(build(replace(surface, host="239.0.0.7", page_host="10.0.0.5")).decode())
    lcm.par.Host.val = host
    lcm.par.Refresh.pulse()
    world.frame(2.0)
    assert world.requests == [(f"{asked}/parameters.json", "GET")]


def test_a_recipe_that_is_chosen_here_changes_the_pages_too(world: World, lcm: COMP) -> None:
    world.deliver(lcm, "/lcm/status/recipe", "builtin")
    world.frame(2.0)
    assert len(world.requests) == 1  # what plays may not be what the file says
    lcm.par.Recipe.val = "passthrough"
    world.frame(2.0)
    assert ("/lcm/recipe", ["passthrough"]) in world.taken()
    assert len(world.requests) == 1
    world.deliver(lcm, "/lcm/status/recipe", "passthrough")
    world.frame(2.0)
    assert len(world.requests) == 2


@pytest.mark.parametrize("answer", [(403, ""), (200, "<html>"), (200, "[]"), (200, '{"CONTENTS": 3}'), (200, "{}")])
def test_an_answer_that_is_no_description_changes_nothing(world: World, lcm: COMP, answer: tuple[int, str]) -> None:
    pars = [par.name for par in lcm.customPars]
    world.respond(lcm, *answer)
    assert [par.name for par in lcm.customPars] == pars


def test_the_daemon_is_started_once(world: World, lcm: COMP, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    module = lcm.op("code").module
    monkeypatch.setattr(module.subprocess, "Popen", lambda command, **options: started.append((command, options)))
    monkeypatch.setenv("PYTHONHOME", "/touchdesigner")
    by_label(lcm, "Daemon", "Start daemon").pulse()
    (command, options), = started
    assert command == ["lcm-daemon", "run", "demo"]
    assert options["cwd"] == "/project"
    assert "PYTHONHOME" not in options["env"]
    world.deliver(lcm, "/lcm/status/fps", 30.0)
    by_label(lcm, "Daemon", "Start daemon").pulse()
    assert len(started) == 1
    assert lcm.par.State.eval() == "The daemon runs already."


def test_a_program_that_is_not_there_is_reported(lcm: COMP) -> None:
    lcm.par.Command.val = "/no/such/program"
    lcm.op("code").module.__dict__["project"]._give(folder="/")
    by_label(lcm, "Daemon", "Start daemon").pulse()
    assert lcm.par.State.eval().startswith("/no/such/program cannot be started: ")


def test_texts_of_a_show_cannot_end_the_script(world: World, surface: Surface) -> None:
    odd = replace(surface, show="it's\n'''\"\"\"\\", cues=("'''", '"""\\', "ümlaut 雷"))
    comp = world.run_script(build(odd).decode("utf-8"))
    assert [par.label for par in page(comp, "Cues").pars] == list(odd.cues)


def test_a_seed_that_no_parameter_can_hold_is_shown_as_the_largest(world: World, surface: Surface) -> None:
    comp = world.run_script(build(replace(surface, values={**surface.values, "seed": 2**50})).decode())
    assert comp.par.Seed.eval() == comp.par.Seed.default == 2**31 - 1
    world.frame()
    assert world.taken() == [("/lcm/subscribe", [9001, 60])]


def test_names_that_become_the_same_stay_apart(world: World, surface: Surface) -> None:
    strength = surface.table["strength"]
    twins = {name: replace(strength, name=name) for name in ("a_b", "ab", "a/b", "port", "9lives")}
    comp = world.run_script(build(replace(surface, table={**surface.table, **twins})).decode())
    names = [par.name for par in comp.customPars]
    assert len(names) == len(set(names))
    assert {"Ab", "Abx2", "Abx3", "Portx2", "P9lives"} <= set(names)


def test_a_show_without_osc_is_refused(surface: Surface) -> None:
    with pytest.raises(LcmDaemonError, match="osc is off"):
        build(replace(surface, osc_port=0))
