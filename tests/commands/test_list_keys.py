"""`list keys` and `schema`: every key of a show, for people and for editors."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lcm_daemon.cli import main
from lcm_daemon.commands.list_keys import show_schema
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.shows.reader import load_show, show_fields

ROOT = Path(__file__).parents[2]
SHOWS = sorted(itertools.chain((ROOT / "show_configs").glob("*.yaml"), (ROOT / "examples").glob("*/*.yaml")))
SHOWS = [path for path in SHOWS if not path.name.endswith(".cues.yaml")
         and path.parent.name != "deploy"]  # files of other programs


@functools.cache
def validator() -> Any:
    schema = json.loads(show_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_list_keys_has_each_key_of_a_show_with_its_range_default_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "keys"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["KEY", "VALUE", "DEFAULT", "HELP"]
    keys = [line.partition("  ")[0] for line in lines]
    assert len(keys) == len(set(keys))
    assert set(show_fields(Path(), Path())) <= set(keys)
    assert {"output.fps", "sinks[].transport", "sinks[].name (ndi)", "midi.map[].cc", "osc.map[].from",
            "recipe.controlnets[].interval", "modulation[].depth", "source.path (file)", "cues[].set.mix"} <= set(keys)
    fps = lines[keys.index("output.fps")]
    assert "a number from 1 to 1000" in fps
    assert "30.0" in fps
    assert fps.endswith("frames per second of the output, held under all conditions")
    assert "as source" in lines[keys.index("guide")]


@pytest.mark.parametrize("show", SHOWS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_schema_accepts_every_show_that_ships(show: Path) -> None:
    found = [error.json_path for error in validator().iter_errors(yaml.safe_load(show.read_text("utf-8")))]
    assert found == []


@pytest.mark.parametrize(("text", "place"), [
    ("outptu: {fps: 30}", "$"),
    ("output: {fps: 1001}", "$.output.fps"),
    ("output: {size: [512]}", "$.output.size"),
    ("output: {failsafe: blackout}", "$.output.failsafe"),
    ("source: {transport: nid}", "$.source"),
    ("source: {transport: ndi, nmae: CAM}", "$.source"),
    ("sinks: [{transport: testcard}]", "$.sinks[0].transport"),
    ("sinks: [{transport: ndi, name: a, fit: cover}]", "$.sinks[0]"),
    ("recipe: {base: builtin, sampler: lmc}", "$.recipe"),
    ("recipes: [a]", "$.recipes"),
    ("parameters: {strenght: 0.5}", "$.parameters"),
    ("parameters: {strength: 2}", "$.parameters.strength"),
    ("cues: [{name: a, set: {mixx: 1}}]", "$.cues[0].set"),
    ("cues: [{fade: 1}]", "$.cues[0]"),
    ("modulation: [{name: a, to: mix, wave: sinus}]", "$.modulation[0].wave"),
    ("midi: {map: [{cc: 300, to: mix}]}", "$.midi"),
    ("osc: {map: [{form: /1/a, to: mix}]}", "$.osc"),
    ("panel: {port: 99999}", "$.panel"),
])
def test_the_schema_finds_mistakes_where_the_daemon_finds_them(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "show.yaml").write_text(text, "utf-8")
    with pytest.raises(LcmDaemonError):
        load_show(tmp_path / "show.yaml", environment={})
    places = [error.json_path for error in validator().iter_errors(yaml.safe_load(text))]
    assert place in places


@pytest.mark.parametrize("text", [
    "{}", "x-notes: [1]", "output: {size: 1920x1080, fps: 30000/1001}", "panel: false", "resume: on",
    "parameters: {freeze: true, seed: 1e3, prompt: 007, mode: 1, lora/ink: 0.5}", "output:", "safety: 1",
    "recipe: {base: sd-turbo, loras: [a.safetensors, {name: ink, model: b.safetensors}]}",
    "midi: {map: [{note: [1, 2], to: mode, button: radio}, {pitchbend: , to: mix}], clock: {device: Drums}}",
    'osc: {feedback: ["127.0.0.1:9001", {to: "127.0.0.1:9002", addresses: [map]}]}',
])
def test_the_schema_accepts_what_the_daemon_accepts(text: str) -> None:
    assert [error.json_path for error in validator().iter_errors(yaml.safe_load(text))] == []


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(show_schema())
