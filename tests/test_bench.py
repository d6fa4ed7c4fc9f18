"""The bench measures, prints and writes; its figures are its own affair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lcm_daemon import bench
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipe import load_recipe
from tests.conftest import need


def test_a_bench_of_the_passthrough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "STAGE_FRAMES", 200)
    monkeypatch.setattr(bench, "BUS_SECONDS", 1.0)
    assert bench.bench("passthrough", 2, str(tmp_path / "figures.json")) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["stage"]["passthrough 512x512 flat out, frames/s"] > 0
    assert figures["bus in to bus out"]["bus in to bus out, ms (p50)"] > 0
    assert 0 < figures["start"]["first picture, s"] <= figures["start"]["first rendered frame, s"]
    assert "failed" not in capsys.readouterr().out


def test_the_models_part_compares_with_diffusers() -> None:
    recipe = load_recipe("builtin")
    need(Path(locate(recipe).model).exists(), "the built-in model is not in this checkout")
    rows = bench._measure_model(recipe, 2)
    assert {"1 step: frames/s", "2 steps: diffusers' time / ours", "4 steps: outside the modules, ms"} <= set(rows)


def test_a_recipe_whose_weights_are_missing_is_said_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "_MEASURES", {"model": bench._measure_model, "last": lambda recipe, frames: {"n": 1.0}})
    need(not _there("sd-turbo"), "sd-turbo is on this machine: nothing is missing")
    assert bench.bench("sd-turbo", 1, None) == 0
    assert "failed" in (printed := capsys.readouterr().out)
    assert "1.00" in printed


def _there(name: str) -> bool:
    from lcm_daemon.errors import RecipeError

    try:
        locate(load_recipe(name))
    except RecipeError:
        return False
    return True
