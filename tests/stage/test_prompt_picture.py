"""A picture of a page in place of the recipe's image prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.recipes.parts import ImagePrompt
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.state import RecipeState, RecipeVariant
from lcm_daemon.render.recipe_switcher import RecipeSwitcher
from lcm_daemon.stage.prompt_picture import PromptPicture
from tests.rigs.daemon import wait_for

WITH = Recipe("with", image_prompt=ImagePrompt("adapter", "encoder", "own.png"))
WITHOUT = Recipe("without")
FILES: Mapping[int, Path] = {1: Path("/pictures/picture-1.png"), 2: Path("/pictures/picture-2.jpg")}


class FakeTransition:
    """Plays at once what it is asked for."""

    def __init__(self) -> None:
        self.state = RecipeState(RecipeVariant(WITH))
        self.leading = type("Player", (), {"fallen": False})()
        self.asked: list[RecipeVariant] = []

    def ask(self, variant: RecipeVariant, automatic: bool = False) -> None:
        self.asked.append(variant)
        self.state.play(variant)


class Rig:
    def __init__(self) -> None:
        self.transition = FakeTransition()
        self.switcher = RecipeSwitcher(
            {"with": WITH, "without": WITHOUT}, self.transition, None, Metrics())  # type: ignore[arg-type]
        self.picture = PromptPicture(self.switcher, Metrics(), FILES.get)

    def use(self, name: str) -> None:
        self.picture.use(name, "osc/1")
        if self.picture._newest is not None:
            wait_for(lambda: not self.picture._found.empty(), what="the file")
            self.picture.step()

    @property
    def refused(self) -> list[str]:
        return [refusal.text for refusal in self.picture.refusals.pop()]

    @property
    def image(self) -> str:
        prompt = self.transition.state.wanted.recipe.image_prompt
        return prompt.image if prompt else ""


SEVERAL = Recipe("several", image_prompts=(ImagePrompt("adapter", "encoder", "own.png", name="style"),
                                           ImagePrompt("adapter", "encoder", "", name="face")))


def test_one_of_several_image_prompts_is_named(rig: Rig) -> None:
    rig.switcher.recipes = {"several": SEVERAL}
    rig.switcher._own = {"several": SEVERAL}
    rig.transition.state.play(RecipeVariant(SEVERAL))

    def images() -> list[str]:
        return [prompt.image for prompt in rig.transition.state.wanted.recipe.all_image_prompts]

    rig.use("picture 1 face")
    assert images() == ["own.png", str(FILES[1])]
    assert rig.picture.rows() == ({"source": "recipe", "name": "style"}, {"source": "picture 1", "name": "face"})
    rig.use("picture 2")
    assert images() == [str(FILES[2]), str(FILES[1])], "the first one, where none is named"
    rig.use("recipe face")
    assert images() == [str(FILES[2]), ""]
    assert [prompt.image for prompt in rig.switcher.recipes["several"].all_image_prompts] == images()
    rig.use("picture 1 fase")
    assert rig.refused == ["prompt_picture: the recipe has no image prompt 'fase'; did you mean 'face'?"]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_picture_is_loaded_as_another_variant_and_the_own_image_comes_back(rig: Rig) -> None:
    assert rig.picture.rows() == ({"source": "recipe"},)
    rig.use("picture 2")
    assert (rig.image, rig.picture.rows()) == (str(FILES[2]), ({"source": "picture 2"},))
    rig.use("2")
    assert len(rig.transition.asked) == 1, "it is not loaded again"
    rig.use("recipe")
    assert (rig.image, rig.picture.rows()) == ("own.png", ({"source": "recipe"},))
    assert rig.refused == []


def test_it_stays_while_another_recipe_plays(rig: Rig) -> None:
    rig.use("picture 1")
    rig.switcher.change("without")
    assert rig.picture.rows() == ()
    rig.use("picture 1")
    rig.use("recipe")
    assert rig.refused == ["prompt_picture: recipe without has no image prompt"] * 2
    rig.switcher.change("with")
    assert rig.image == str(FILES[1])


@pytest.mark.parametrize(("name", "reason"), [
    ("picture 3", "picture 3 does not exist; `list sources` prints those that do"),
    ("../x.png", "'../x.png' is not a picture such as 'picture 1', or 'recipe' for the recipe's own"),
    ("", "'' is not a picture such as 'picture 1', or 'recipe' for the recipe's own"),
])
def test_what_is_no_picture_is_refused_and_changes_nothing(rig: Rig, name: str, reason: str) -> None:
    rig.use(name)
    assert rig.refused == [f"prompt_picture: {reason}"]
    assert rig.transition.asked == []


def test_of_two_requests_the_newer_one_counts(rig: Rig) -> None:
    rig.picture.use("picture 1", "osc/1")
    rig.picture.use("picture 2", "osc/2")
    wait_for(lambda: rig.picture._found.qsize() == 2, what="both files")
    rig.picture.step()
    assert rig.image == str(FILES[2])
    assert len(rig.transition.asked) == 1


def test_a_size_that_was_asked_for_stays(rig: Rig) -> None:
    rig.transition.state.play(RecipeVariant(replace(WITH, size=(640, 384))))
    rig.use("picture 1")
    assert rig.transition.state.wanted.recipe.size == (640, 384)
    assert rig.image == str(FILES[1])
