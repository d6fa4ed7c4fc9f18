"""Which recipes are on this machine, and what happens to a request for one that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.stage.recipe_shelf import RecipeShelf, find_problem
from tests.rigs.daemon import wait_for


class Shelf:
    """A shelf whose files are `here`; the requests that were done or refused."""

    def __init__(self, *here: str) -> None:
        self.here, self.done = set(here), list[str]()
        recipes = {name: Recipe(name) for name in "abc"}
        self.shelf = RecipeShelf(recipes, Metrics(), lambda recipe: "" if recipe.name in self.here else "not here")

    def look(self) -> None:
        self.shelf.look()
        self.step(3)

    def step(self, answers: int = 1) -> None:
        wait_for(lambda: self.shelf._found.qsize() >= answers, what="answers")
        self.shelf.step()

    def ask(self, name: str) -> None:
        self.shelf.ask(name, lambda: self.done.append(name), lambda reason: self.done.append(f"{name}: {reason}"))


def test_a_recipe_that_is_here_is_changed_to_at_once_and_an_absent_one_refused() -> None:
    rig = Shelf("a")
    rig.ask("b")  # before the first look
    assert rig.done == ["b"]
    rig.look()
    assert rig.shelf.absent == {"b": "not here", "c": "not here"}
    rig.ask("a")
    assert rig.done == ["b", "a"]
    rig.ask("b")
    assert rig.done == ["b", "a"]  # its files are looked at first
    rig.step()
    assert rig.done == ["b", "a", "b: not here"]


def test_a_recipe_that_was_fetched_elsewhere_is_found() -> None:
    rig = Shelf()
    rig.look()
    rig.here.add("c")
    rig.ask("c")
    rig.step()
    assert rig.done == ["c"]
    assert "c" not in rig.shelf.absent


def test_the_newest_request_counts_and_a_panic_cancels_it() -> None:
    rig = Shelf("a")
    rig.look()
    rig.ask("b")
    rig.ask("a")
    assert rig.done == ["b: not here", "a"]
    rig.step()
    rig.ask("c")
    rig.shelf.cancel()
    rig.step()
    assert rig.done == ["b: not here", "a"]


def test_problems_are_those_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_problem(load_recipe("builtin")) == find_problem(load_recipe("passthrough")) == ""
    assert "not on this machine: stabilityai/sd-turbo, " in find_problem(load_recipe("sd-turbo"))
    page = tmp_path / "merge.safetensors"
    page.write_text("<html>Sign in</html>")
    recipe = replace(load_recipe("builtin"), checkpoint=str(page))
    assert find_problem(recipe).startswith(f"recipe builtin: checkpoint {page} is an HTML page, not weights")
    assert "gone does not exist" in find_problem(replace(load_recipe("builtin"), model=str(tmp_path / "gone")))
