"""What a recorded pipeline renders at load, so that the show's faders cause no recording."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt, Lora
from lcm_daemon.recipes.recipe import Recipe
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS
    from lcm_daemon.pipelines.image_prompt import EMBED_INTERVAL
    from lcm_daemon.pipelines.warm_up import rehearsals

OWN = Recipe("own", guidance="none")


def of(recipe: Recipe, **changes: float) -> list[tuple[Values, int]]:
    """Without what every recipe has: prompts, `steady` and `inpaint`."""
    return [each for each in rehearsals(recipe, {**recipe.start_values(), **changes})
            if not each[0].keys() & {"prompt", "steady", "inpaint"}]


def test_a_plain_recipe_needs_no_more_than_its_start_and_prompts() -> None:
    assert of(OWN) == []
    prompts = [Blend.of(values["prompt"]).parts for values, frames in rehearsals(OWN, OWN.start_values())
               if frames == 1]
    assert all(one != other for one, other in pairwise(prompts)), "a recording of what has changed needs a change"
    assert [len(parts) for parts in prompts] == [1] * (WARM_UPS + 1) + [2] * (WARM_UPS + 1)


@pytest.mark.parametrize("name", ["steady", "inpaint"])
def test_what_every_recipe_has_is_recorded_on_and_off(name: str) -> None:
    for start, other in ((0.0, 1.0), (0.5, 0.0)):
        found = [each for each in rehearsals(OWN, {**OWN.start_values(), name: start}) if name in each[0]]
        assert found == [({name: other}, WARM_UPS + 1)]
    stream = replace(OWN, stream_batch=True)
    assert not any("inpaint" in values for values, _ in rehearsals(stream, stream.start_values()))


def test_each_number_of_passes_of_the_upscaler_is_recorded() -> None:
    for start, others in ((1, [2, 3]), (2, [1, 3])):
        found = [each for each in rehearsals(OWN, {**OWN.start_values(), "upscale": start}, [1, 2, 3])
                 if "upscale" in each[0]]
        assert found == [({"upscale": other}, WARM_UPS + 1) for other in others]


def test_controlnets_are_recorded_on_and_off_and_with_their_interval() -> None:
    edge, depth = ControlNet("edge", "", weight=0.7), ControlNet("depth", "", weight=0.0)
    off = {"control/edge/weight": 0.0, "control/depth/weight": 0.0}
    assert of(replace(OWN, controlnets=(edge, depth))) == [(off, WARM_UPS + 1)]
    [(on, _)] = of(replace(OWN, controlnets=(depth,)))
    assert on == {"control/depth/weight": 1.0}
    changes = of(replace(OWN, controlnets=(edge,)), **{"control/edge/interval": 3})
    assert changes[-1] == ({}, 3 * (WARM_UPS + 1)), "every third frame makes a map"


def test_both_kinds_of_guidance_are_recorded() -> None:
    recipe = replace(OWN, guidance="classifier_free")
    [(guided, _)], [(plain, _)] = of(recipe, guidance=1.0), of(recipe, guidance=3.0)
    assert float(guided["guidance"]) > 1.0 == plain["guidance"]


def test_a_live_image_prompt_is_embedded_often_enough() -> None:
    assert of(replace(OWN, image_prompt=ImagePrompt("a", "b", ""))) == [({}, EMBED_INTERVAL * (WARM_UPS + 1))]
    assert of(replace(OWN, image_prompt=ImagePrompt("a", "b", "picture.png"))) == []


def test_each_live_lora_moves_and_returns_to_zero() -> None:
    changes = of(replace(OWN, loras=(Lora("a", 0.5, "ink"), Lora("b", 0.5))))
    assert changes == [({"lora/ink": 1.0}, 1), ({"lora/ink": 0.0}, 1)] * (WARM_UPS + 1)
