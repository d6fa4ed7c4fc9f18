"""Every live control of a recipe: it changes the next frame, and nothing is rebuilt."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.parts import ControlNet, Lora
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines import test_safety
from tests.pipelines.conftest import make_picture
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of, write_controlnet
from tests.rigs.tiny_loras import make_lora, write_kohya

with lazy_imports(globals()):
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from lcm_daemon.pipelines.latent_consistency import LatentConsistency


@pytest.fixture(scope="module")
def live(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> LatentConsistency:
    """A model with a LoRA on everything and a ControlNet, loaded once for all."""
    model, folder = checkpoint("epsilon"), tmp_path_factory.mktemp("live")
    parts = (UNet2DConditionModel.from_pretrained(model / "unet"),
             CLIPTextModel.from_pretrained(model / "text_encoder"))
    recipe: Recipe = recipe_of(
        model, loras=(Lora(str(write_kohya(make_lora(parts), folder / "ink.safetensors", parts)), 0.0, "ink"),),
        controlnets=(ControlNet("edges", str(write_controlnet(folder / "control", model)), weight=0.0),))
    pipeline = LatentConsistency(recipe, (64, 64))
    pipeline.load(lambda line: None)
    return pipeline


def paint(pipeline: LatentConsistency, picture: int = 0, guide: Pixels | None = None, **changes: object) -> Pixels:
    values: Values = {**pipeline.recipe.start_values(), "prompt": "red lava", "strength": 0.7, **changes}
    out = solid(pipeline.size)
    pipeline.render(make_picture((64, 64), picture), values, out, guide)
    return out[..., :3]


@pytest.mark.slow
@pytest.mark.parametrize("change", [
    {"lora/ink": 0.7}, {"control/edges/weight": 1.0}, {"mode": "control"}, {"mode": "text"},
    {"prompt_b": "ocean", "blend": 0.5},
    {"prompt": Blend((("red lava", 0.5), ("blue ocean", 0.5)))}, {"prompt": "(red:1.5) lava"},
    {"prompt": "red lava::0.5 ocean::0.5"}, {"seed": Blend(((0, 0.5), (1, 0.5)))},
], ids=str)
def test_a_fader_changes_the_next_frame_and_back(live: LatentConsistency, change: Values) -> None:
    places = [parameter.data_ptr() for parameter in live.renderer.components.unet.parameters()]
    before = paint(live)
    assert not np.array_equal(paint(live, **change), before)
    assert np.array_equal(paint(live), before)
    assert [parameter.data_ptr() for parameter in live.renderer.components.unet.parameters()] == places


@pytest.mark.slow
def test_a_lora_reaches_the_text_encoder_through_the_prompt_cache(live: LatentConsistency) -> None:
    with torch.inference_mode():
        def states(weight: float) -> torch.Tensor:
            paint(live, **{"lora/ink": weight})
            return live.renderer.conditioner.prompts.embed([("red lava", 1.0)]).states.clone()

        plain, drawn = states(0.0), states(1.0)
        assert not torch.equal(plain, drawn)
        assert torch.equal(states(0.0), plain)


@pytest.mark.slow
def test_a_lora_in_the_prompt_adds_to_its_fader(live: LatentConsistency) -> None:
    half = Blend((("red lava <lora:ink:1>", 0.5), ("red lava", 0.5)))
    for prompt, fader, same in (("red lava <lora:ink:0.75>", 0.0, 0.75), ("<lora:ink:0.5> red lava", 0.25, 0.75),
                                (half, 0.25, 0.75), ("red lava <lora:absent:1>", 0.0, 0.0)):
        assert np.array_equal(paint(live, **{"prompt": prompt, "lora/ink": fader}), paint(live, **{"lora/ink": same}))
    assert not np.array_equal(paint(live, **{"lora/ink": 0.75}), paint(live))


@pytest.mark.slow
def test_a_prompt_glides_without_a_jump_and_without_the_encoder(live: LatentConsistency) -> None:
    calls: list[int] = []
    handle = live.renderer.components.text_encoders[0].model.register_forward_hook(lambda *_: calls.append(1))
    shares = [i / 20 for i in range(21)]
    try:
        way = [paint(live, prompt=Blend((("fire", 1 - s), ("blue deep ocean", s)))).astype(float) for s in shares]
    finally:
        handle.remove()
    moves = [np.abs(b - a).mean() for a, b in itertools.pairwise(way)]
    assert np.array_equal(way[0], paint(live, prompt="fire"))
    assert np.array_equal(way[-1], paint(live, prompt="blue deep ocean"))
    assert max(moves) < 0.25 * np.abs(way[-1] - way[0]).mean()
    assert len(calls) <= 2, "each text is encoded once"


@pytest.mark.slow
def test_a_seed_glides_without_a_jump(live: LatentConsistency) -> None:
    way = [paint(live, mode="text", seed=Blend(((3, 1 - i / 20), (9, i / 20)))).astype(float) for i in range(21)]
    assert np.array_equal(way[0], paint(live, mode="text", seed=3))
    assert np.array_equal(way[-1], paint(live, mode="text", seed=9))
    moves = [np.abs(b - a).mean() for a, b in itertools.pairwise(way)]
    assert max(moves) < 0.25 * np.abs(way[-1] - way[0]).mean()


@pytest.mark.slow
def test_control_mode_renders_from_noise_along_the_inputs_shapes(live: LatentConsistency) -> None:
    held = {"mode": "control", "control/edges/weight": 2.0}
    assert not np.array_equal(paint(live, 0, **held), paint(live, 1, **held)), "the input is looked at"
    assert np.array_equal(paint(live, 0, mode="control"), paint(live, 1, mode="control")), "and only by the ControlNet"
    assert np.array_equal(paint(live, 0, mode="text", **{"control/edges/weight": 2.0}), paint(live, 0, mode="text"))


@pytest.mark.slow
def test_feedback_and_smooth_use_the_previous_frame(live: LatentConsistency) -> None:
    for change in ({"feedback": 0.8, "strength": 0.2}, {"smooth": 0.8, "strength": 0.2}):
        first = paint(live, 0, **change)
        assert np.array_equal(first, paint(live, 0, strength=0.2)), "there was nothing to look back to"
        paint(live, 0, **change)
        second = paint(live, 1, **change).astype(float)
        plain = paint(live, 1, strength=0.2).astype(float)
        assert not np.array_equal(second, plain)
        if "smooth" in change:  # what a random model makes of a mixed input is nearer to nothing
            assert np.abs(second - first).mean() < np.abs(plain - first).mean()


@pytest.mark.slow
def test_steady_holds_what_flickers_and_shows_a_cut_at_once(live: LatentConsistency) -> None:
    first = paint(live, 0)
    assert np.array_equal(paint(live, 0, steady=1.0), first), "there was nothing to look back to"
    flicker = {"seed": Blend(((0, 0.97), (1, 0.03)))}
    held = np.abs(paint(live, 0, steady=1.0, **flicker).astype(float) - first).mean()
    assert held < 0.4 * np.abs(paint(live, 0, **flicker).astype(float) - first).mean()
    paint(live, 0, steady=1.0)
    assert np.array_equal(paint(live, 1, steady=1.0), paint(live, 1)), "a cut"
    assert np.array_equal(paint(live, 0), first), "0 leaves no trace"


@pytest.mark.slow
def test_a_still_input_is_skipped_with_similarity_skip(live: LatentConsistency) -> None:
    passes: list[int] = []
    handle = live.renderer.components.unet.register_forward_hook(lambda *_: passes.append(1))
    try:
        out = [paint(live, 0, similarity_skip=2.0, steps=1) for _ in range(20)]
        painted = len(passes)
        moved = paint(live, 1, similarity_skip=2.0, steps=1)
    finally:
        handle.remove()
    assert painted < 15
    assert len(passes) == painted + 1
    assert all(np.array_equal(one, out[0]) for one in out)
    assert not np.array_equal(moved, out[0])


@pytest.mark.slow
def test_walking_noise_changes_the_result_by_itself(live: LatentConsistency) -> None:
    walk = {"mode": "text", "noise": "walking", "noise_speed": 10.0}
    pictures = [paint(live, **walk) for _ in range(3)]
    assert not np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(paint(live, mode="text"), paint(live, mode="text"))


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_stream_batch_renders_the_same_with_a_delay(
    guidance: float, checkpoint: Callable[[str], Path],
) -> None:
    def of(stream: bool) -> LatentConsistency:
        recipe = recipe_of(checkpoint("velocity"), guidance="classifier_free", stream_batch=stream)
        pipeline = LatentConsistency(recipe, (64, 64))
        pipeline.load(lambda line: None)
        return pipeline

    moved = {"steps": 3, "guidance": guidance, "negative_prompt": "blue", "strength": 0.2}
    plain, stream = of(False), of(True)
    expected = [paint(plain, number, **moved).astype(int) for number in range(6)]
    found = [paint(stream, number, **moved).astype(int) for number in range(6)]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(expected, found[2:], strict=False))
    assert np.abs(found[0] - expected[0]).max() <= 1, "the first picture is shown at once"
    assert np.abs(found[5] - expected[5]).max() > 1


def test_a_stream_batch_with_controlnets_is_refused_in_one_line(checkpoint: Callable[[str], Path]) -> None:
    recipe = recipe_of(checkpoint("epsilon"), stream_batch=True, controlnets=(ControlNet("edges", "owner/name"),))
    with pytest.raises(RecipeError, match="recipe tiny: stream_batch denoises frames at all steps at once"):
        LatentConsistency(recipe, (64, 64)).load(lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "shown"), [(2.0, True), (-2.0, False)])
def test_what_the_safety_checker_flags_is_never_shown(
    threshold: float, shown: bool, checkpoint: Callable[[str], Path], tmp_path: Path,
) -> None:
    checker = test_safety.make_checker()
    for thresholds in (checker.concept_embeds_weights, checker.special_care_embeds_weights):
        thresholds.data.fill_(threshold)
    model = shutil.copytree(checkpoint("epsilon"), tmp_path / "model")
    pipeline = LatentConsistency(recipe_of(test_safety.write(model, checker), safety=True), (64, 64))
    pipeline.load(lambda line: None)
    pictures = [paint(pipeline, number) for number in range(3)]
    grey = np.full_like(pictures[0], test_safety.GREY[0])
    assert all(np.array_equal(picture, grey) is not shown for picture in pictures)
    assert np.array_equal(paint(pipeline, 0, mix=0.0), make_picture((64, 64), 0)[..., :3]), "the input is not painted"
