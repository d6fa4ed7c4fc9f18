"""What every pipeline checks and reads before it renders."""

from __future__ import annotations

from lcm_daemon.core.live_values import Blend
from lcm_daemon.pipelines.base import ControlValues, FrameValues
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt, Lora
from lcm_daemon.recipes.recipe import Recipe


def test_values_have_their_types_and_parts_their_names() -> None:
    recipe = Recipe("own", loras=(Lora("file", 0.3, "ink"), Lora("merged")), image_prompt=ImagePrompt("a", "b"),
                    controlnets=(ControlNet("edges", "m", weight=0.7, end=0.5, interval=2), ControlNet("far", "m")))
    travelling = Blend((("fire", 0.25), ("sea", 0.75)))
    values = FrameValues.of({**recipe.start_values(), "prompt": travelling, "seed": 7, "strength": 1, "steps": 3})
    assert (values.prompt, values.seed, values.strength, values.steps) == (travelling, Blend(((7, 1.0),)), 1.0, 3)
    assert isinstance(values.strength, float)
    assert values.loras == {"ink": 0.3}
    assert values.controlnets == {"edges": ControlValues(0.7, 0.0, 0.5, 2), "far": ControlValues(1.0, 0.0, 1.0, 1)}
    assert values.image_prompt == 0.6


def test_a_recipe_without_parts_has_neutral_values() -> None:
    values = FrameValues.of(Recipe("own").start_values())
    assert (values.loras, values.controlnets, values.image_prompt) == ({}, {}, 0.0)


def test_equal_values_are_equal() -> None:
    start = Recipe("own").start_values()
    assert FrameValues.of(start) == FrameValues.of(dict(start))
    assert FrameValues.of(start) != FrameValues.of({**start, "seed": 1})
