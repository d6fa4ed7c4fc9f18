"""Shows: reading, and the messages about mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lcm_daemon.automation.automation import Automation
from lcm_daemon.core.errors import DocumentError, LcmDaemonError
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.core.schema import Section
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.shows.library import show_files
from lcm_daemon.shows.reader import load_show, show_fields
from lcm_daemon.shows.show import Show

EXAMPLES = [path for path in sorted((Path(__file__).parents[2] / "examples").glob("*/*.yaml"))
            if path.parent.name != "deploy"]  # files of other programs


def load(tmp_path: Path, text: str, *overrides: str, **environment: str) -> Show:
    (tmp_path / "show.yaml").write_text(text)
    return load_show(tmp_path / "show.yaml", overrides, environment)


def complaints(tmp_path: Path, text: str, *overrides: str, **environment: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load(tmp_path, text, *overrides, **environment)
    return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]


def test_every_key_is_optional(tmp_path: Path) -> None:
    show = load(tmp_path, "")
    assert (show.name, show.recipe.name, show.size, show.fps) == ("show", "builtin", (512, 512), 30.0)
    assert show.source is not None
    assert show.source.transport == "testcard"
    assert show.osc is not None
    assert (show.osc["port"], show.osc["host"], show.osc["feedback"]) == (9000, "127.0.0.1", ())
    assert (show.cues, show.modulators, show.controllers["midi"]) == ((), (), None)
    panel = show.controllers["panel"]
    assert panel is not None
    assert (panel["port"], panel["host"]) == (8000, "127.0.0.1")


@pytest.mark.parametrize("path", show_files(), ids=lambda path: path.stem)
def test_packaged_shows_are_valid(path: Path) -> None:
    assert load_show(path, environment={}).name == path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_example_shows_are_valid(path: Path) -> None:
    assert load_show(path, environment={}).name.startswith(path.parent.name)


def test_a_show_is_found_by_its_name_or_its_path_from_the_readme() -> None:
    assert load_show("demo", environment={}).name == "demo"
    assert load_show("show_configs/demo.yaml", environment={}).name == "demo"


def test_a_full_show_is_read(tmp_path: Path) -> None:
    show = load(tmp_path, """
name: mirror
recipe: builtin
source: {transport: ndi, name: "STAGE (Camera 1)", fit: contain}
output: {size: [640, 480], fps: 60, failsafe: fade, hold_seconds: 2, fade_to: input}
sinks:
  - {transport: ndi, name: lcm}
  - {transport: spout, name: lcm, optional: true}
parameters: {prompt: "ocean, deep blue", strength: 0.7, steps: 2}
glides: {strength: 0.5}
osc:   {port: 9000, feedback: ["127.0.0.1:9001"]}
panel: false
""")
    assert show.source is not None
    assert (show.source.options["name"], show.source.fit) == ("STAGE (Camera 1)", "contain")
    assert (show.size, show.fps, show.failsafe.mode, show.failsafe.fade_to) == ((640, 480), 60.0, "fade", "input")
    assert [(sink.label, sink.optional) for sink in show.sinks] == [("ndi lcm", False), ("spout lcm", True)]
    assert show.parameters["strength"] == 0.7
    assert show.glides == {"strength": 0.5}
    assert list(show.desk_options) == ["osc"]
    assert "640x480 at 60 fps" in show.describe()


def test_only_what_the_show_names_may_be_larger_than_its_limit(tmp_path: Path) -> None:
    text = "{recipe: sd-turbo, recipes: {big: {base: sd-turbo, size: [768, 768]}}"
    assert load(tmp_path, text + "}").too_large_recipes() == {}
    limited = load(tmp_path, text + ", network: {max_size: [504, 1024]}}").too_large_recipes()
    assert limited["sdxl-turbo"] == (512, 512)
    assert not {"sd-turbo", "big", "builtin"} & set(limited)


def test_the_catalogue_has_the_shows_recipes_by_their_names(tmp_path: Path) -> None:
    show = load(tmp_path, """
recipe: {base: builtin, size: [128, 128]}
recipes: {quick: {base: builtin, size: [64, 64], parameters: {steps: 1}}, through: passthrough}
parameters: {strength: 0.3}
safety: true
accelerate: none
""")
    catalogue = show.catalogue()
    assert {"quick", "through", "builtin", "sd-turbo"} <= set(catalogue)
    assert (catalogue["quick"].name, catalogue["quick"].size) == ("quick", (64, 64))
    assert catalogue["builtin"] is show.recipe, "the show's own, under its name"
    assert all((recipe.safety, recipe.accelerate) == (True, "none") for recipe in catalogue.values())
    start = show.start_values(catalogue["quick"])
    assert (start["steps"], start["strength"], start["seed"]) == (1, 0.3, 0)
    assert not load(tmp_path, "").recipe.safety


def test_the_engines_defaults_are_for_recipes_that_leave_the_choice_open(tmp_path: Path) -> None:
    show = load(tmp_path, """
engine: {device: cpu, dtype: bfloat16, accelerate: compile, in_flight: 3, recorded: false}
recipe: {base: builtin, dtype: float32}
recipes: {quick: {base: builtin, device: "cuda:1", accelerate: none, in_flight: 1}}
""")
    catalogue = show.catalogue()
    found = {name: (recipe.device, recipe.dtype, recipe.accelerate, recipe.in_flight, recipe.recorded)
             for name, recipe in catalogue.items()}
    assert found["builtin"] == ("cpu", "float32", "compile", 3, False)
    assert found["quick"] == ("cuda:1", "bfloat16", "none", 1, False)
    assert found["sd-turbo"][:1] + found["sd-turbo"][2:] == ("cpu", "compile", 3, False), "the package's recipes too"
    assert show.recipe == catalogue["builtin"]


def test_without_a_word_the_engine_chooses(tmp_path: Path) -> None:
    recipe = load(tmp_path, "{engine: {in_flight: auto}, recipe: sd-turbo}").recipe
    assert (recipe.device, recipe.accelerate, recipe.in_flight, recipe.recorded) == ("auto", "auto", 0, True)
    assert recipe == load_recipe("sd-turbo")


def test_the_shows_own_accelerator_goes_before_that_of_its_engine(tmp_path: Path) -> None:
    show = load(tmp_path, "{accelerate: none, engine: {accelerate: compile}}")
    assert {recipe.accelerate for recipe in show.catalogue().values()} == {"none"}


def test_a_show_may_name_parameters_of_any_of_its_recipes(tmp_path: Path) -> None:
    recipes = "recipes: {lace: {base: builtin, loras: [{name: lace, model: a/b}]}}"
    show = load(tmp_path, f"{recipes}\nparameters: {{lora/lace: 0.5}}\nglides: {{lora/lace: 2}}")
    assert show.start_values(show.recipes["lace"])["lora/lace"] == 0.5
    assert "lora/lace" not in show.start_values(show.recipe)
    assert show.glides == {"lora/lace": 2.0}
    assert "no parameter 'lora/lace'" in complaints(tmp_path, "parameters: {lora/lace: 0.5}")[0]


def test_a_guide_is_a_second_source(tmp_path: Path) -> None:
    assert load(tmp_path, "").guide is None
    show = load(tmp_path, "guide: {transport: ndi, name: depth, fit: stretch}")
    assert show.guide is not None
    assert (show.guide.options["name"], show.guide.fit) == ("depth", "stretch")
    assert "guide    ndi depth" in show.describe()
    (line,) = complaints(tmp_path, "guide: {transport: record}")
    assert line.startswith("show.yaml:1:20: no source has the transport 'record'")


def test_paths_start_at_the_show_file(tmp_path: Path) -> None:
    show = load(tmp_path, "source: {transport: file, path: clips/sea.mp4}")
    assert show.source is not None
    assert show.source.options["path"] == str(tmp_path / "clips" / "sea.mp4")


@pytest.mark.parametrize(("text", "line"), [
    ("spare: loaded", "show.yaml:1:1: unknown key 'spare'; did you mean 'engine.spare'?"),
    ("outptu: {}", "show.yaml:1:1: unknown key 'outptu'; did you mean 'output'?"),
    ("output: {fps: 0}", "show.yaml:1:15: 0 is not a number from 1 to 1000"),
    ("recipe: sd-trubo", "show.yaml:1:9: no recipe or .yaml file 'sd-trubo'; did you mean 'sd-turbo'?"),
    ("source: {transport: ndy}", "show.yaml:1:21: no source has the transport 'ndy'; did you mean 'ndi'?"),
    ("sinks: [{transport: testcard}]", "show.yaml:1:21: no sink has the transport 'testcard'; "),
    ("source: {transport: testcard, colour: 1}", "show.yaml:1:31: unknown key 'colour'; "),
    ("parameters: {strenght: 1}", "show.yaml:1:14: no parameter 'strenght'; did you mean 'strength'?"),
    ("parameters: {strength: 1.7}", "show.yaml:1:24: strength goes from 0 to 1, not 1.7"),
    ("parameters: {steps: 1, steps: 2}", "show.yaml:1:24: key 'steps' is here twice"),
    ("output: {slate: \"C:\\new.png\"}", "show.yaml:1:17: 'C:\\new.png' is not a path: in double quotes"),
    ("recipe: \"C:\\new.yaml\"", "show.yaml:1:9: 'C:\\new.yaml' is not a path: in double quotes"),
    ("recipe: {base: builtin, loras: [\"C:\\new\"]}", "show.yaml:1:33: 'C:\\new' is not a path: in double quotes"),
    ("parameters: {steps: many}", "show.yaml:1:21: steps takes a number, not 'many'"),
    ("glides: {steps: 1}", "show.yaml:1:17: steps cannot glide: only floats, prompts and seeds do"),
    ("recipes: [ink]", "show.yaml:1:10: a mapping of names to recipes is wanted, such as {ink: {base: sd-turbo}}"),
    ("recipes: {ink: sd-trubo}", "show.yaml:1:16: no recipe or .yaml file 'sd-trubo'; did you mean 'sd-turbo'?"),
    ("accelerate: warp", "show.yaml:1:13: 'warp' is not one of auto, none, compile"),
    ("engine: {in_flight: 5}", "show.yaml:1:21: frames in flight are auto or 1 to 4, not 5"),
    ("engine: {in_flight: true}", "show.yaml:1:21: frames in flight are auto or 1 to 4, not True"),
    ("engine: {device: gpu}", "show.yaml:1:18: a device is auto, "),
    ("engine: {dtype: float8}", "show.yaml:1:17: 'float8' is not one of auto, "),
    ("engine: {accelerate: compile, device: \"openvino:CPU\"}", "show.yaml:1:1: recipe builtin: openvino:CPU computes "
     "what OpenVINO compiles, so accelerate is auto or openvino, not compile"),
    ("engine: {recorded: maybe}", "show.yaml:1:20: 'maybe' is not true or false"),
    ("recipe: {base: builtin, in_flight: 0}", "show.yaml:1:36: frames in flight are auto or 1 to 4, not 0"),
    ("osc: {port: 99999}", "show.yaml:1:13: 99999 is not a whole number from 0 to 65535"),
    ("- a", "show.yaml:1:1: a list is not a mapping"),
    ("{source: {transport: browser}, panel: false}", "show.yaml:1:1: a source of the transport browser needs"),
])
def test_each_mistake_has_its_place_and_what_would_be_right(tmp_path: Path, text: str, line: str) -> None:
    (found,) = complaints(tmp_path, text)
    assert found.startswith(line)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    assert len(complaints(tmp_path, "a: 1\noutput: {fps: x}\nsinks: [{transport: fax}]\nparameters: {steps: [1]}")) == 4


def test_the_command_line_overrides_the_environment_and_that_the_file(tmp_path: Path) -> None:
    text = "output: {fps: 24, hold_seconds: 1}"
    show = load(tmp_path, text, "output.fps=60", LCM_DAEMON__OUTPUT__FPS="50", LCM_DAEMON__OUTPUT__HOLD_SECONDS="9")
    assert (show.fps, show.failsafe.hold_seconds) == (60.0, 9.0)


def test_a_mistake_in_an_override_names_it_as_its_place(tmp_path: Path) -> None:
    assert complaints(tmp_path, "", "output.fps=fast")[0].startswith("--set output.fps:1:1: 'fast' is not a number")
    assert complaints(tmp_path, "", LCM_DAEMON__OUTPUT__FSP="1")[0].startswith("LCM_DAEMON__OUTPUT__FSP:1:1: unknown")
    with pytest.raises(LcmDaemonError, match="KEY=VALUE"):
        load(tmp_path, "", "output.fps")


@pytest.mark.parametrize("text", ["yes: no", "[a", "@home", "on", "1e3", "a # b", "{a: b}", "null"])
def test_a_text_from_outside_is_taken_as_text(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, "", LCM_DAEMON__PARAMETERS__PROMPT=text).parameters["prompt"] == text
    assert load(tmp_path, "", f"parameters.prompt={text}").parameters["prompt"] == text
    assert load(tmp_path, "", f"source.name={text}", "source.transport=ndi").source.options["name"] == text


def test_other_values_from_outside_are_read_as_meant(tmp_path: Path) -> None:
    show = load(tmp_path, "{recipe: {base: builtin}}", "parameters.strength=33%", "parameters.mix=0,25",
                LCM_DAEMON__OUTPUT__SIZE="640x360", LCM_DAEMON__OUTPUT__FPS="30000/1001", LCM_DAEMON__RESUME="0",
                LCM_DAEMON__OSC="false", LCM_DAEMON__PARAMETERS__STEPS="2e0")
    assert (show.size, show.fps, show.resume, show.osc) == ((640, 360), 30000 / 1001, False, None)
    assert dict(show.parameters) == {"strength": 0.33, "mix": 0.25, "steps": 2}
    assert complaints(tmp_path, "parameters: {strength: 133%}")[0].startswith(
        "show.yaml:1:24: strength goes from 0 to 1, not '133%'")


def test_anchors_are_merged_and_notes_are_ignored(tmp_path: Path) -> None:
    show = load(tmp_path, """
x-sender: &sender {transport: memory, optional: true}
x-note: [anything, {at: all}]
osc:
sinks:
  - {<<: *sender, name: a}
  - {<<: *sender, name: b, optional: false}
""")
    assert [(sink.transport, sink.options["name"], sink.optional) for sink in show.sinks] == [
        ("memory", "a", True), ("memory", "b", False)]
    assert show.osc is not None
    assert show.osc["port"] == 9000


def test_overriding_a_key_of_a_recipe_name_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError) as caught:
        load(tmp_path, "recipe: sd-turbo", "recipe.device=cuda:1")
    assert str(caught.value) == ("--set recipe.device: recipe is a plain name here; write recipe as "
                                 "{base: sd-turbo, device: cuda:1}")
    assert load(tmp_path, "recipe: {base: sd-turbo, device: cuda:1}").recipe.device == "cuda:1"
    assert load(tmp_path, "recipe: {base: sd-turbo}", "recipe.device=cuda:1").recipe.device == "cuda:1"
    assert complaints(tmp_path, "- a", "recipe.device=cuda:1")


def test_a_show_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LcmDaemonError, match=r"absent\.yaml: cannot be read: no such file"):
        load_show(tmp_path / "absent.yaml")
    (tmp_path / "wide.yaml").write_text("name: wide", "utf-16")
    with pytest.raises(LcmDaemonError, match=r"wide\.yaml: cannot be read: it is not text in UTF-8; save it"):
        load_show(tmp_path / "wide.yaml")


def test_a_recipe_in_place_of_a_show_says_what_to_write() -> None:
    with pytest.raises(LcmDaemonError, match=r"^sd-turbo is a recipe, .*lcm-daemon run demo --set recipe=sd-turbo$"):
        load_show("sd-turbo")
    with pytest.raises(LcmDaemonError, match=r"^dmeo: cannot be read: .*; did you mean 'demo'\?$"):
        load_show("dmeo")


def test_a_packaged_show_writes_outside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, work = tmp_path / "package", tmp_path / "work"
    package.mkdir()
    work.mkdir()
    (package / "demo.yaml").write_text("sinks: [{transport: record}]")
    (package / "demo.cues.yaml").write_text("[]")
    monkeypatch.setattr("lcm_daemon.shows.library.FOLDER", package)
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(work)
    assert [path.name for path in show_files()] == ["demo.yaml"]
    show = load_show("demo", environment={})
    assert show.companion_file == tmp_path / "state" / "demo.yaml"
    assert show.sinks[0].options["path"] == str(work / "recordings" / "{date}_{time}.mp4")


def test_a_users_show_writes_beside_its_file(tmp_path: Path) -> None:
    show = load(tmp_path, "sinks: [{transport: record}]")
    assert show.companion_file == tmp_path / "show.yaml"
    assert show.sinks[0].options["path"] == str(tmp_path / "recordings" / "{date}_{time}.mp4")


@pytest.mark.parametrize(("options", "page"), [
    ("{host: 0.0.0.0, port: 8001}", "http://127.0.0.1:8001"), ("{port: 0}", "on a free port of 127.0.0.1"),
    ("false", "off"),
])
def test_describe_has_the_url_of_the_page(options: str, page: str, tmp_path: Path) -> None:
    assert f"  page     {page}\n" in load(tmp_path, f"panel: {options}").describe()


def test_the_fallback_is_the_builtin_with_its_safest_settings(tmp_path: Path) -> None:
    last = load(tmp_path, "{recipe: sd-turbo, safety: true}").fallback
    assert (last.name, last.device, last.dtype) == ("builtin (safe)", "cpu", "float32")
    assert not last.safety, "its checker may be what cannot be loaded"
    assert load(tmp_path, "{recipe: sd-turbo, safety: true, audience: {}}").fallback.safety, "visitors see no other"


def test_cues_and_modulation_are_read(tmp_path: Path) -> None:
    show = load(tmp_path, """
recipes: {ink: {base: builtin}}
modulation:
  - {name: slow, to: strength, rate: 0.1, depth: 0.2}
  - {name: loud, to: blend, wave: follow}
cues:
  - {name: dawn, set: {prompt: sunset, strength: 0.4, mod/slow/depth: 0.1}, fade: 4}
  - {name: storm, recipe: ink, delay: 1, follow: 20, curve: smooth, at: 21:30}
""")
    assert [modulator.wave for modulator in show.modulators] == ["sine", "follow"]
    dawn, storm = show.cues
    assert (dawn.values, dawn.fade, dawn.follow) == (
        {"prompt": "sunset", "strength": 0.4, "mod/slow/depth": 0.1}, 4.0, None)
    assert (storm.recipe, storm.at, storm.curve, storm.values) == ("ink", "21:30", "smooth", {})


@pytest.mark.parametrize(("text", "line"), [
    ("cues: [{set: {steps: 1}}]", "show.yaml:1:8: key 'name' is missing"),
    ("cues: [{name: a, set: {stepps: 1}}]", "show.yaml:1:24: no parameter 'stepps'; did you mean 'steps'?"),
    ("cues: [{name: a, recipe: inc}]", "no recipe 'inc'"),
    ("cues: [{name: a}, {name: a}]", "two cues are called 'a'"),
    ("cues: [{name: a, at: 25:00}]", 'a time of day is wanted, such as "21:30"'),
    ("modulation: [{name: a, to: prompt}]", "no parameter 'prompt' with a number"),
    ("modulation: [{name: a/b, to: mix}]", "a name is 1 to 32 letters"),
    ("modulation: [{name: a, to: mix, wave: sin}]", "'sin' is not one of sine, triangle"),
])
def test_a_wrong_cue_or_modulator_has_its_place(tmp_path: Path, text: str, line: str) -> None:
    found = complaints(tmp_path, text)
    assert found
    assert all(one.startswith("show.yaml:1:") for one in found)
    assert line in found[0]


@pytest.mark.parametrize(("key", "name"), [("source", "hall"), ("guide", "hall"), ("sinks", "")])
def test_browser_source_has_the_name_of_the_source_or_guide(tmp_path: Path, key: str, name: str) -> None:
    file = tmp_path / "show.yaml"
    end = {"sinks": "[{transport: memory, name: hall}]"}.get(key, "{transport: browser, name: hall}")
    file.write_text(f"{{recipe: passthrough, {key}: {end}}}")
    assert load_show(file, environment={}).browser_source == name


@pytest.mark.parametrize(("path", "found"), [
    ("demo", True), ("show_configs/demo.yaml", True), ("./show_configs/demo.yaml", True),
    ("demo.yaml", False), ("demo.yml", False), ("demo.txt", False), ("demo.YAML", False), ("./demo", False),
    ("Demo", False), ("demo/", False), ("elsewhere/demo", False), ("elsewhere/demo.yaml", False),
    ("show_configs/demo", False), ("show_configs/demo.yml", False), ("show_configs/../demo.yaml", False),
])
def test_a_packaged_show_is_found_by_its_exact_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, found: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if found:
        assert load_show(path, environment={}).name == "demo"
    else:
        with pytest.raises(LcmDaemonError, match=r"cannot be read: no such file; did you mean 'demo'\?$"):
            load_show(path, environment={})


@pytest.mark.parametrize("name", ["demo", "demo.txt", "webcam.yml"])
def test_a_file_of_the_user_goes_before_a_packaged_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text("name: mine")
    monkeypatch.chdir(tmp_path)
    assert load_show(name, environment={}).name == "mine"


@pytest.mark.parametrize(("host", "page"), [
    ('"::"', "http://[::1]:8000"), ('"::1"', "http://[::1]:8000"), ('"2001:db8::7"', "http://[2001:db8::7]:8000"),
    ("stage.local", "http://stage.local:8000"),
])
def test_describe_has_a_url_for_every_kind_of_host(tmp_path: Path, host: str, page: str) -> None:
    assert f"  page     {page}\n" in load(tmp_path, f"panel: {{host: {host}}}").describe()


CUE_RECIPES = """
recipe: my.yaml
recipes: {lace: {base: builtin, loras: [{name: lace, model: a/b}]}}
cues:
  - {name: own, recipe: my, set: {lora/mine: 0.5}}
  - {name: packaged, recipe: builtin, set: {lora/ink: 0.5}}
  - {name: other, recipe: lace, set: {lora/lace: 0.5}}
  - {name: same, set: {lora/mine: 0.2, lora/ink: 0.3, lora/lace: 0.4}}
"""


def test_a_cue_may_name_every_recipe_of_the_show_and_set_its_parameters(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("{base: passthrough, loras: [{name: mine, model: a/b}]}")
    show = load(tmp_path, CUE_RECIPES)
    catalogue = show.catalogue()
    for cue in show.cues[:3]:
        assert cue.values.keys() <= show.table(catalogue[cue.recipe]).keys()
    assert catalogue["my"] is show.recipe


@pytest.mark.parametrize(("cue", "line"), [
    ("{name: a, recipe: my, set: {lora/ink: 0.5}}", "no parameter 'lora/ink'"),
    ("{name: a, recipe: builtin, set: {lora/mone: 0.5}}", "no parameter 'lora/mone'"),
    ("{name: a, recipe: mine}", "no recipe 'mine'; there are builtin, "),
    ("{name: a, recipe: my.yaml}", "no recipe 'my.yaml'; there are builtin, "),
    ("{name: a, set: {lora/ink: 0.5}}", "no parameter 'lora/ink'"),
])
def test_a_cue_sets_only_parameters_of_its_recipe_or_of_the_shows_own(tmp_path: Path, cue: str, line: str) -> None:
    (tmp_path / "my.yaml").write_text("{base: passthrough, loras: [{name: mine, model: a/b}]}")
    (found,) = complaints(tmp_path, f"recipe: my.yaml\ncues:\n  - {cue}")
    assert line in found


def test_a_cue_may_set_what_the_recipe_before_it_has(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("{base: passthrough, loras: [{name: mine, model: a/b}]}")
    show = load(tmp_path, "{recipe: my.yaml, cues: [{name: a, recipe: builtin, set: {lora/mine: 0, lora/ink: 1}}]}")
    assert show.cues[0].values == {"lora/mine": 0.0, "lora/ink": 1.0}


def test_known_recipes_are_listed_once(tmp_path: Path) -> None:
    (found,) = complaints(tmp_path, "cues: [{name: a, recipe: zzzz}]")
    assert found.count("builtin") == 1


@pytest.mark.parametrize("name", ["sc\u00e8ne\u00a01", "\U0001f469\u200d\U0001f3a4", "a\tb"])
def test_a_cue_name_may_have_every_character_of_a_line(tmp_path: Path, name: str) -> None:
    for escaped in (True, False):
        assert load(tmp_path, f"cues: [{{name: {json.dumps(name, ensure_ascii=escaped)}}}]").cues[0].name == name


@pytest.mark.parametrize("name", ["", "a\nb", "a\n", "a\u2028b"])
def test_a_cue_name_is_one_line(tmp_path: Path, name: str) -> None:
    (found,) = complaints(tmp_path, f"cues: [{{name: {json.dumps(name)}}}]")
    assert "is not a cue name: one line of text is wanted" in found


def test_a_cue_that_changes_the_recipe_is_played_with_its_values(tmp_path: Path) -> None:
    show = load(tmp_path, "{recipe: passthrough, cues: [{name: a, recipe: builtin, set: {lora/ink: 0.5, mix: 0.25}}]}")
    parameters = Parameters(show.table(show.recipe), show.start_values(show.recipe))
    changes: list[str] = []
    automation = Automation(show.cues, show.modulators, parameters, changes.append)
    automation.execute(CommandRequest("cue/go", "test"), 0.0)
    automation.update(0.0, None)
    assert changes == ["builtin"]
    builtin = show.catalogue()["builtin"]
    parameters.start = show.start_values(builtin)
    parameters.replace_table(show.table(builtin))
    automation.recipe_started("builtin", 1.0)
    assert {name: parameters.targets()[name] for name in ("lora/ink", "mix")} == {"lora/ink": 0.5, "mix": 0.25}


@pytest.mark.parametrize(("text", "lines"), [
    ("modulation:\n  - {name: a, to: mix, rate: x}\n  - {name: b, to: mix}\n  - {name: b, to: mix}", [2, 4]),
    ("cues:\n  - {name: a, fade: x}\n  - {name: b}\n  - {name: b}\n  - {name: c}", [2, 4]),
    ("recipes:\n  a: sd-trubo\n  b: builtin\n  b: builtin", [2, 4]),
    ("parameters:\n  steps: x\n  mix: 1\n  mix: 1", [2, 4]),
    ("glides:\n  steps: 1\n  mix: 1\n  mix: 1", [2, 4]),
    ("osc:\n  port: x\n  host: localhost\n  host: localhost", [2, 4]),
])
def test_a_name_that_is_there_twice_is_reported_at_the_second_place(
    tmp_path: Path, text: str, lines: list[int]
) -> None:
    assert [int(line.split(":")[1]) for line in complaints(tmp_path, text)] == lines


def test_the_json_schema_of_a_show_has_every_key(tmp_path: Path) -> None:
    fields = show_fields(tmp_path, tmp_path)
    schema = json.loads(json.dumps(Section(fields).json_schema()))
    assert schema["properties"].keys() == fields.keys()
    assert schema["properties"]["output"]["properties"]["fps"]["maximum"] == 1000


SOURCES = "{sources: {wide: {transport: camera}, film: {transport: file, path: a.mp4}}"


def test_sources_are_read_by_name_and_cues_name_them(tmp_path: Path) -> None:
    show = load(tmp_path, SOURCES + ", cues: [{name: a, source: wide}, {name: b, source: ndi CAM 1, guide: film}]}")
    assert {name: source.label for name, source in show.sources.items()} == {
        "wide": "camera", "film": f"file {tmp_path / 'a.mp4'}",
    }
    assert [(cue.source, cue.guide) for cue in show.cues] == [("wide", ""), ("ndi CAM 1", "film")]
    assert show.can_guide
    assert not load(tmp_path, "{}").can_guide


@pytest.mark.parametrize(("rest", "place", "line"), [
    (", cues: [{name: a, source: wid}]}", ":1:", "no source 'wid'; did you mean 'wide'?"),
    (", cues: [{name: a, guide: /etc/passwd}]}", ":1:", "no source '/etc/passwd'"),
    (", cues: [{name: a, source: file b.mp4}]}", ":1:", "a source of the transport file needs an entry in `sources`"),
    (",\n  cues: [{name: a, source: nid CAM}]}", ":2:28:", "no source 'nid CAM'"),
])
def test_a_cue_with_an_unknown_source_is_a_mistake(tmp_path: Path, rest: str, place: str, line: str) -> None:
    (found,) = complaints(tmp_path, SOURCES + rest)
    assert line in found
    assert place in found


@pytest.mark.parametrize("text", [
    "sources: [wide]", "sources: {show: {transport: camera}}", "sources: {wide: camera}",
    "{panel: false, sources: {page: {transport: browser}}}", "sources: {a: {transport: ndy}}",
])
def test_wrong_sources_are_one_mistake_each(tmp_path: Path, text: str) -> None:
    assert len(complaints(tmp_path, text)) == 1
