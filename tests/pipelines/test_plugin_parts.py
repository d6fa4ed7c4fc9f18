"""Pipelines and preprocessors of plugins: errors name the recipe and the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.core import plugins
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PIPELINES, PREPROCESSORS
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.plugins import install, install_example

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines import build, preprocessors, warm_imports


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    install_example(tmp_path)
    install(tmp_path, "a-pack", "2", {
        "lcm_daemon.pipelines": {"torn": "torn_parts:Pipe", "wrong": "fractions:Fraction"},
        "lcm_daemon.preprocessors": {"torn": "torn_parts:Map"}}, {"torn_parts": "raise RuntimeError('no licence')"})
    monkeypatch.syspath_prepend(tmp_path)
    plugins.declared.cache_clear()
    for table in (PIPELINES, PREPROCESSORS):
        monkeypatch.setattr(table, "_found", None)
    yield
    plugins.declared.cache_clear()


def test_a_pipeline_is_built_by_its_name() -> None:
    assert type(build(Recipe("mine", pipeline="night"), (64, 64))).__name__ == "Night"


@pytest.mark.parametrize(("name", "reason"), [
    ("torn", "RuntimeError: no licence"), ("wrong", "fractions:Fraction is not a class of Pipeline")])
def test_a_broken_pipeline_is_an_error_of_its_recipe(name: str, reason: str) -> None:
    warm_imports(name)
    with pytest.raises(RecipeError, match=rf"recipe mine: the pipeline {name} of a-pack 2 does not work: {reason}"):
        build(Recipe("mine", pipeline=name), (64, 64))


def make(name: str) -> preprocessors.Preprocessor:
    control = ControlNet("edges", "model", preprocessor=name)
    return preprocessors.build(control, Recipe("mine"), torch.device("cpu"), torch.float32)


def test_a_preprocessor_is_built_by_its_name() -> None:
    assert type(make("bright")).__name__ == "Bright"


def test_a_broken_preprocessor_is_an_error_of_its_controlnet() -> None:
    with pytest.raises(RecipeError, match=r"recipe mine: controlnet edges: the preprocessor torn of a-pack 2 does not"):
        make("torn")
