"""Which recipe is asked for, and what is no change at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.render.recipe_switcher import RecipeSwitcher

OLD, NEW = (Recipe(name, pipeline="passthrough", size=(512, 512)) for name in ("old", "new"))


class Changes:
    """A RecipeTransition's face: what plays, and what it was asked for."""

    def __init__(self) -> None:
        self.recipe = self.wanted = OLD
        self.leading: Any = self
        self.fallen = False
        self.asked: list[Recipe] = []

    def change(self, recipe: Recipe, optional: bool = False) -> None:
        self.asked.append(recipe)
        self.wanted = recipe


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def switcher(changes: Changes) -> RecipeSwitcher:
    return RecipeSwitcher({"old": OLD, "new": NEW}, changes, None, Metrics())  # type: ignore[arg-type]


def test_what_plays_already_is_not_loaded_once_more(changes: Changes, switcher: RecipeSwitcher) -> None:
    switcher.change("old")
    changes.wanted = replace(OLD, accelerate="compile")  # as the device's compiler has made it
    switcher.change("old")
    switcher.cue("old")
    assert changes.asked == []


def test_another_one_another_size_and_one_that_has_fallen_are_changes(changes: Changes, switcher: RecipeSwitcher) -> None:
    switcher.change("new")
    switcher.resize(387, 64)
    switcher.cue("new")
    assert changes.asked == [NEW, replace(NEW, size=(384, 64))], "a cue leaves the hand's size as it is"
    switcher.change("new")
    assert changes.asked[-1] == NEW, "a hand that names the recipe means all of it"
    changes.fallen = True
    switcher.change("new")
    assert len(changes.asked) == 4


def test_a_cues_recipe_that_has_gone_is_said_and_nothing_else(
    changes: Changes, switcher: RecipeSwitcher, caplog: pytest.LogCaptureFixture
) -> None:
    switcher.cue("gone")
    assert changes.asked == []
    assert "a cue wants the recipe 'gone'" in caplog.text
