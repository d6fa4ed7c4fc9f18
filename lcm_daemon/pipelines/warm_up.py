"""What a recorded pipeline renders at load beside its start values, so that no fader of the show causes a recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.cuda_graph import WARM_UPS
from lcm_daemon.pipelines.image_prompt import EMBED_INTERVAL
from lcm_daemon.recipes.recipe import Recipe

_RECORD = WARM_UPS + 1  # frames until a plan is recorded
_GUIDED = 2.0  # any guidance that needs both prompts
_TEXTS = "a", "b"  # any prompts


def rehearsals(recipe: Recipe, start: Values, factors: Sequence[int] = ()) -> Iterator[tuple[Values, int]]:
    """Changes of the start values, and for how many frames each is rendered.

    Recorded are: a prompt that is replaced and one on its way to another, ControlNets on and off, frames with and
    without a new map, steadied frames, inpainting, enlarged pictures, both passes of classifier-free guidance, a live
    image prompt that is embedded, and each LoRA as it moves and as it returns to 0.

    Args:
        factors: Of `upscale` that make a difference.
    """
    for number in range(_RECORD):
        yield {"prompt": _TEXTS[number % 2]}, 1
    for number in range(_RECORD):
        share = (number + 1) / (_RECORD + 1)
        yield {"prompt": Blend(((_TEXTS[0], 1.0 - share), (_TEXTS[1], share)))}, 1
    yield {"steady": 0.0 if float(start["steady"]) > 0.0 else 1.0}, _RECORD
    if not recipe.stream_batch:
        yield {"inpaint": 0.0 if float(start["inpaint"]) > 0.0 else 1.0}, _RECORD
    for factor in factors:
        if factor != int(start["upscale"]):
            yield {"upscale": factor}, _RECORD
    weights = [f"control/{control.name}/weight" for control in recipe.controlnets]
    if weights:
        interval = max(int(start[f"control/{control.name}/interval"]) for control in recipe.controlnets)
        is_on = any(float(start[name]) > 0.0 for name in weights)
        yield dict.fromkeys(weights, 0.0) if is_on else dict.fromkeys(weights, 1.0), _RECORD
        if interval > 1:  # one frame of an interval makes a map
            yield {}, _RECORD * interval
    if any(not prompt.image for prompt in recipe.all_image_prompts):
        yield {}, _RECORD * EMBED_INTERVAL
    if recipe.guidance == "classifier_free":
        yield {"guidance": 1.0 if float(start["guidance"]) > 1.0 else _GUIDED}, _RECORD
    for name in (f"lora/{lora.name}" for lora in recipe.loras if lora.name):
        for _ in range(_RECORD):
            yield {name: 1.0}, 1
            yield {name: 0.0}, 1
