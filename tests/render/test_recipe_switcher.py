"""Which recipe is asked for, and which requests change nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeState, RecipeVariant
from lcm_daemon.render.recipe_switcher import RecipeSwitcher

OLD, NEW = (Recipe(name, pipeline="passthrough", size=(512, 512)) for name in ("old", "new"))


class FakeTransition:
    """A RecipeTransition's face: its state, and what it was asked for."""

    def __init__(self) -> None:
        self.state = RecipeState(RecipeVariant(OLD))
        self.leading: Any = self
        self.fallen = False
        self.asked: list[RecipeVariant] = []

    def ask(self, variant: RecipeVariant, automatic: bool = False) -> None:
        self.asked.append(variant)
        self.state.ask(variant)


@pytest.fixture
def transition() -> FakeTransition:
    return FakeTransition()


@pytest.fixture
def switcher(transition: FakeTransition) -> RecipeSwitcher:
    return RecipeSwitcher({"old": OLD, "new": NEW}, transition, None, Metrics())  # type: ignore[arg-type]


def test_a_recipe_that_plays_is_not_loaded_again(transition: FakeTransition, switcher: RecipeSwitcher) -> None:
    switcher.change("old")
    transition.state.play(RecipeVariant(OLD, accelerator="compile"))  # as an upgrade has made it
    switcher.change("old")
    switcher.change_by_cue("old")
    assert transition.asked == []


def test_another_recipe_another_size_and_a_fallen_one_are_changes(
    transition: FakeTransition, switcher: RecipeSwitcher
) -> None:
    switcher.change("new")
    switcher.resize(387, 64)
    switcher.change_by_cue("new")
    assert transition.asked == [RecipeVariant(NEW), RecipeVariant(replace(NEW, size=(384, 64)))], "a cue keeps the size"
    switcher.change("new")
    assert transition.asked[-1] == RecipeVariant(NEW), "a controller that names the recipe means its own size too"
    transition.fallen = True
    switcher.change("new")
    assert len(transition.asked) == 4


def test_another_size_loads_in_its_quick_form_and_drops_the_scale(
    transition: FakeTransition, switcher: RecipeSwitcher
) -> None:
    playing = RecipeVariant(OLD, accelerator="compile")
    transition.state.play(playing)
    switcher.resize(512, 512)
    assert transition.asked == [playing], "the transition finds that it plays already"
    transition.state.begin(replace(playing, scale=0.75))
    switcher.resize(384, 384)
    assert transition.asked[-1] == RecipeVariant(replace(OLD, size=(384, 384))), "it is not compiled yet"


def test_a_cue_whose_recipe_no_longer_exists_changes_nothing(
    transition: FakeTransition, switcher: RecipeSwitcher, caplog: pytest.LogCaptureFixture
) -> None:
    switcher.change_by_cue("gone")
    assert transition.asked == []
    assert "no recipe 'gone'" in caplog.text


def test_a_compiled_form_keeps_its_size_unless_smaller_ones_are_prepared(
    transition: FakeTransition, switcher: RecipeSwitcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert switcher._scales(RecipeVariant(OLD)) == [0.75, 0.5], "its quick form loads in seconds at any size"
    for _ in range(2):
        assert switcher._scales(RecipeVariant(OLD, accelerator="compile")) == []
    assert caplog.text.count("old is not prepared for compile at smaller sizes") == 1
