"""When a parameter has no effect, and that what is declared is true."""

from __future__ import annotations

import pytest

from lcm_daemon.automation.modulation import FOLLOWER, Modulator
from lcm_daemon.core.needs import missing
from lcm_daemon.core.parameters import GROUPS, Value
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.show import parameter_table

RECIPE = Recipe("sd15", controlnets=(ControlNet("edges", "model"),))
WAVES = (Modulator("slow", "mix"), Modulator("bar", "mix", beats=4.0), Modulator("loud", "mix", FOLLOWER))
TABLE = parameter_table([RECIPE], WAVES)


@pytest.mark.parametrize(("name", "changes", "reason"), [
    ("prompt", {}, ""),
    ("prompt_b", {}, "blend is 0"), ("prompt_b", {"blend": 0.01}, ""),
    ("blend", {}, "prompt B is empty"), ("blend", {"prompt_b": "lava"}, ""),
    ("negative_prompt", {}, "guidance is 1 or lower"), ("negative_prompt", {"guidance": 1.5}, ""),
    ("strength", {"mode": "text"}, "mode is not image"), ("feedback", {"mode": "control"}, "mode is not image"),
    ("noise_speed", {}, "noise is fixed"), ("noise_speed", {"noise": "walking"}, ""),
    ("similarity_skip", {"noise": "walking"}, "the noise walks"),
    ("similarity_skip", {"noise": "walking", "noise_speed": 0.0}, ""),
    ("control/edges/weight", {}, ""), ("control/edges/weight", {"mode": "text"}, "mode is text"),
    ("control/edges/start", {"control/edges/weight": 0.0}, "control/edges/weight is 0"),
    ("mod/slow/rate", {}, ""), ("mod/slow/rate", {"mod/slow/depth": -0.1}, ""),
    ("mod/slow/rate", {"mod/slow/depth": 0.0}, "mod/slow/depth is 0"), ("mod/bar/rate", {}, "bar follows the beat"),
    ("mod/loud/level", {"mod/loud/depth": 0.0}, "mod/loud/depth is 0"),
])
def test_why_a_parameter_has_no_effect(name: str, changes: dict[str, Value], reason: str) -> None:
    values = {**{each.name: each.default for each in TABLE.values()}, **changes}
    assert missing(TABLE[name].needs, values) == reason


@pytest.mark.parametrize(("recipe", "name", "reason"), [
    ("builtin", "negative_prompt", "the recipe builtin plays, which takes no negative prompt"),
    ("builtin", "guidance", "the recipe builtin plays, whose guidance is part of its weights"),
    ("lcm-dreamshaper", "negative_prompt", "the recipe lcm-dreamshaper plays, which takes no negative prompt"),
    ("lcm-dreamshaper", "guidance", ""), ("sd15-lcm", "guidance", ""),
    ("passthrough", "strength", "the recipe passthrough shows the input untouched"), ("passthrough", "master", ""),
    ("passthrough", "interpolate", ""), ("passthrough", "upscale", "the recipe passthrough shows the input untouched"),
])
def test_what_never_has_an_effect_with_a_recipe(recipe: str, name: str, reason: str) -> None:
    table = load_recipe(recipe).table()
    assert missing(table[name].needs, {**load_recipe(recipe).start_values(), "guidance": 2.0}) == reason


def test_every_parameter_has_a_group_and_groups_are_not_torn_apart() -> None:
    every = parameter_table([*map(load_recipe, recipe_names()), RECIPE], WAVES).values()
    places = [GROUPS.index(parameter.group) for parameter in every]
    assert places == sorted(places)
    named = {condition.parameter for each in every for need in each.needs for condition in need.conditions}
    assert named <= {each.name for each in every}, "a need names a parameter that exists"


def test_the_printed_reference_says_when() -> None:
    assert "No effect while noise is fixed." in TABLE["noise_speed"].describe()
