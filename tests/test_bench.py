"""The bench measures, prints and writes; its figures are its own affair."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon import bench
from lcm_daemon.errors import RecipeError
from lcm_daemon.pipelines import architectures
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipe import Recipe, load_recipe
from lcm_daemon.recipe_parts import Lora
from tests.conftest import need
from tests.pipelines.test_architectures import TINY_XL


def test_a_bench_of_the_passthrough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "STAGE_FRAMES", 200)
    monkeypatch.setattr(bench, "BUS_SECONDS", 1.0)
    assert bench.bench(task("passthrough"), str(tmp_path / "figures.json")) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["stage"]["passthrough 512x512 flat out, frames/s"] > 0
    assert figures["bus in to bus out"]["bus in to bus out, ms (p50)"] > 0
    assert 0 < figures["start"]["first picture, s"] <= figures["start"]["first rendered frame, s"]
    assert "failed" not in capsys.readouterr().out


def test_the_models_part_compares_with_diffusers() -> None:
    recipe = load_recipe("builtin")
    need(Path(locate(recipe).model).exists(), "the built-in model is not in this checkout")
    rows = bench._measure_model(replace(task("builtin"), steps=(2,)))
    assert {"2 steps: eager, frames/s", "2 steps: eager, frame, ms (p99)", "2 steps: diffusers, frame, ms (p50)",
            "2 steps: diffusers' time / eager", "2 steps: eager, outside the modules, ms"} <= set(rows)
    assert str(rows["2 steps: as a table"]).startswith("| builtin | cpu (")


def test_a_recipe_on_random_weights_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "ARCHITECTURES", {"tiny/xl": TINY_XL})
    recipe = Recipe("tiny", model="tiny/xl", vae="madebyollin/taesdxl", guidance="none", sampler="euler",
                    size=(64, 64), device="cpu", dtype="float32", accelerate="none", loras=(Lora("some/lora"),))
    rows = bench._time_model(bench.Task(recipe, 2, (1,), random=True))
    assert rows["1 step: eager, frames/s"] > 0
    assert rows["1 step: diffusers' time / eager"] > 0


def test_random_weights_measure_the_model_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "_MEASURES", {"stage": lambda task: {"a": 1.0}, "model": lambda task: {"b": 2.0}})
    assert bench.bench(replace(task("sd-turbo"), random=True)) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line] == [["model"], ["b", "2.00"]]


def test_what_has_no_random_weights_is_said() -> None:
    with pytest.raises(RecipeError, match="recipe sdxs-512: there are no random weights for the model IDKiro/sdxs"):
        bench._time_model(replace(task("sdxs-512"), random=True))


def test_a_recipe_whose_weights_are_missing_is_said_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "_MEASURES", {"model": bench._measure_model, "last": lambda task: {"n": 1.0}})
    need(not _there("sd-turbo"), "sd-turbo is on this machine: nothing is missing")
    assert bench.bench(replace(task("sd-turbo"), frames=1)) == 0
    assert "failed" in (printed := capsys.readouterr().out)
    assert "1.00" in printed


def task(name: str) -> bench.Task:
    return bench.Task(load_recipe(name), frames=2, where=name)


def _there(name: str) -> bool:
    try:
        locate(load_recipe(name))
    except RecipeError:
        return False
    return True
