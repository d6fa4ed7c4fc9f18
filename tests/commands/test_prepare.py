"""What is prepared, what the table says, and what a run finds. The real compilers are in the slow tests."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.cli import main
from lcm_daemon.commands import prepare, prepare_form
from lcm_daemon.commands.prepare import recipes_to_prepare
from lcm_daemon.commands.prepare_form import FormTask
from lcm_daemon.core.errors import EngineError, LcmDaemonError, RecipeError
from lcm_daemon.recipes.prepared import Prepared, PreparedForm, digest_of, installed_torch
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PIPELINES
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.shows.reader import load_show
from tests.conftest import need
from tests.rigs import toy_pipeline
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.accelerators import compile as compiling

SHOW = """
recipe: {base: builtin, accelerate: compile, size: [256, 128]}
recipes: {ink: {base: builtin, size: [128, 128], accelerate: compile}, through: {base: passthrough}}
cues: [{name: one, recipe: ink}, {name: two, recipe: plain}]
output: {target_fps: 30}
panel: false
osc: false
"""


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LCM_DAEMON_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "show.yaml"
    file.write_text(SHOW.replace(", {name: two, recipe: plain}", ""))
    return file


def compiler(**reasons: str) -> Callable[..., PreparedForm]:
    """In place of the process that compiles. reasons: why recipes of these names cannot be compiled."""

    def load(task: FormTask, on_progress: Callable[[str], None]) -> PreparedForm:
        recipe = task.recipe
        on_progress("compiling the denoiser: 5 s")
        if reason := reasons.get(recipe.name):
            raise RecipeError(reason)
        return PreparedForm(digest_of(recipe), recipe.name, "{}x{}".format(*recipe.size), "compile", installed_torch(),
                            "a card", task.tunes, 300.0 if task.tunes else 7.0, wanted=recipe.accelerate)

    return load


def test_every_recipe_of_the_show_at_every_size_of_the_governor(show: Path) -> None:
    found = [(recipe.name, recipe.size) for recipe in recipes_to_prepare(load_show(show, environment={}))]
    assert found[:3] == [("builtin", (256, 128)), ("builtin", (192, 128)), ("builtin", (128, 64))]
    assert ("ink", (128, 128)) in found
    assert len(found) == len(set(found)), "a cue's recipe that the show has too is prepared once"
    show.write_text(SHOW.replace("recipe: plain", "recipe: sd-turbo").replace("target_fps: 30", "target_fps: 0"))
    found = [(recipe.name, recipe.size) for recipe in recipes_to_prepare(load_show(show, environment={}))]
    assert found[1:] == [("ink", (128, 128)), ("through", found[2][1]), ("sd-turbo", (512, 512))]


def test_the_table_says_what_is_ready_and_a_run_finds_it(show: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    assert prepare.prepare(str(show), load=compiler(), write=lines.append) == 0
    assert "builtin 256x128: compiling the denoiser: 5 s" in lines
    assert "builtin 256x128: ready; a show loads it in 7 s" in lines
    table = lines[[line.startswith("RECIPE") for line in lines].index(True):]
    assert table[1].split() == ["builtin", "256x128", "yes", "7", "s", "compile"]
    assert re.fullmatch(r"through  \d+x\d+ +yes +nothing: it plays as torch runs it", table[-1])
    recipe = load_show(show, environment={}).recipe
    form = Prepared.read().find(recipe, installed_torch(), "a card")
    assert form is not None
    assert (form.tuned, form.seconds) == (True, 7.0)


def test_what_fails_is_in_the_table_with_its_reason_and_in_the_exit_code(show: Path) -> None:
    lines: list[str] = []
    assert prepare.prepare(str(show), load=compiler(ink="its weights are missing"), write=lines.append) == 1
    failed = [line for line in lines if line.startswith("ink") and "failed: its weights are missing" in line]
    assert len(failed) == len([line for line in lines if line.startswith("ink  ")])
    assert any(line.split()[:3] == ["builtin", "256x128", "yes"] for line in lines), "the others are prepared"


def test_a_show_that_plays_is_not_disturbed(show: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_where_it_plays", lambda show: "http://127.0.0.1:8000")
    with pytest.raises(LcmDaemonError, match=r"show\.yaml: it plays now \(http://127\.0\.0\.1:8000\)"):
        prepare.prepare(str(show), load=compiler(), write=pytest.fail)


def test_mistakes_of_the_show_are_reported_with_their_places(
    show: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show.write_text("{recipe: builtin, accelerate: quickly}")
    assert main(["prepare", str(show)]) == 2
    assert "show.yaml:1:31: " in capsys.readouterr().err


def test_a_compiler_that_dies_is_one_line(show: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(task: FormTask, on_progress: Callable[[str], None]) -> Any:
        raise EngineError("the process that compiles it died")

    lines: list[str] = []
    assert prepare.prepare(str(show), load=die, write=lines.append) == 1
    assert "builtin 256x128: the process that compiles it died" in lines


def test_a_changed_recipe_is_not_what_was_prepared(show: Path) -> None:
    prepare.prepare(str(show), load=compiler(), write=lambda line: None)
    recipe = load_show(show, environment={}).recipe
    assert Prepared.read().find(replace(recipe, size=(320, 128)), installed_torch()) is None


@pytest.mark.compile
def test_the_real_compiler_makes_files_that_the_next_load_finds(
    show: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile on the processor, in processes of its own, with a model of one layer."""
    need(not compiling.Compile.probe(torch.device("cpu")), "no C++ compiler; install g++")
    monkeypatch.setattr(prepare_form, "_run", toy_pipeline.run)
    recipe = Recipe("toy", pipeline=toy_pipeline.NAME, device="cpu", size=(64, 64), accelerate="compile")
    monkeypatch.setattr(prepare, "recipes_to_prepare", lambda show: [recipe])
    lines: list[str] = []
    assert prepare.prepare(str(show), write=lines.append) == 0, lines
    assert "toy 64x64: compiling the denoiser" in lines
    form = Prepared.read().find(recipe, installed_torch())
    assert form is not None
    assert (form.accelerator, form.tuned) == ("compile", False)
    assert any(Path(form.folder).rglob("*.so"))
    assert str(tmp_path) in form.folder
    monkeypatch.setattr("lcm_daemon.recipes.prepared.DIRECT_SECONDS", math.inf)  # this machine may be busy
    assert Prepared.read().form_of(RecipeVariant(recipe)).accelerator == "compile", "a show starts with it"


@pytest.mark.slow
def test_what_cannot_be_compiled_is_an_error_and_names_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIPELINES, toy_pipeline.NAME, "tests.rigs.toy_pipeline:ToyPipeline")
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    recipe, lines = Recipe("toy", pipeline=toy_pipeline.NAME, device="cpu", accelerate="compile"), list[str]()
    with pytest.raises(EngineError, match="denoiser cannot be compiled and would play as torch runs it"):
        prepare_form._load(FormTask(recipe, (64, 64)), lines.append)
    assert lines[0].startswith("compile: no C++ compiler")
