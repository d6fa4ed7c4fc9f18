"""The pipeline as the engine uses it, compared with diffusers' own pipelines on the same weights."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon import pipelines
from lcm_daemon.core.errors import EngineError, RecipeError
from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.reader import load_show
from tests.conftest import need
from tests.pipelines.conftest import Values, make_picture, values
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    from lcm_daemon.pipelines.diffusers_reference import DiffusersReference
    from lcm_daemon.pipelines.latent_consistency import FULL_MIX_STRENGTH, LatentConsistency

Checkpoint = Callable[[str], Path]
RECIPES: dict[str, dict[str, Any]] = {
    "epsilon": {}, "velocity": {}, "embedded": {"guidance": "embedded"}, "turbo": {"sampler": "euler"},
    "kl": {"guidance": "classifier_free"},
}


@pytest.fixture(scope="session")
def load(checkpoint: Checkpoint) -> Callable[..., LatentConsistency]:
    """A loaded pipeline of one kind; those without changes are loaded once for the whole run."""
    kept: dict[tuple[str, Size], LatentConsistency] = {}

    def get(kind: str, size: Size = (64, 64), **changes: Any) -> LatentConsistency:
        if changes or (kind, size) not in kept:
            recipe = recipe_of(checkpoint(kind), **{**RECIPES[kind], **changes})
            pipeline = pipelines.build(recipe, size)
            assert isinstance(pipeline, LatentConsistency)
            pipeline.load(lambda line: None)
            if changes:
                return pipeline
            kept[kind, size] = pipeline
        return kept[kind, size]

    return get


@pytest.fixture(scope="session")
def reference_of() -> Callable[[Recipe], DiffusersReference]:
    """diffusers' pipeline for a recipe of 64x64 pixels, loaded once for the whole run."""
    kept: dict[str, DiffusersReference] = {}

    def get(recipe: Recipe) -> DiffusersReference:
        if (key := repr(recipe)) not in kept:
            kept[key] = DiffusersReference(recipe, (64, 64))
        return kept[key]

    return get


LoadRecipe = Callable[..., LatentConsistency]
ReferenceOf = Callable[[Recipe], DiffusersReference]


def paint(pipeline: LatentConsistency, pixels: Pixels, settings: Values) -> Pixels:
    out = solid(pipeline.size)
    pipeline.render(pixels, settings, out)
    return out


def assert_same_picture(found: Pixels, expected: Pixels) -> None:
    """At most one level apart anywhere, and that in less than one byte of a hundred: rounding, nothing else."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert expected[..., :3].std() > 5, "a flat picture would prove nothing"
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("mode", ["image", "text"])
@pytest.mark.parametrize("kind", ["epsilon", "velocity", "embedded"])
def test_it_renders_like_diffusers(
    kind: str, mode: str, steps: int, load: LoadRecipe, reference_of: ReferenceOf, picture: Pixels
) -> None:
    pipeline = load(kind)
    reference = reference_of(pipeline.recipe)
    for strength in (1.0, 0.5, 0.26):  # each a level of the schedule, so that diffusers has it
        settings = values(mode=mode, steps=steps, strength=strength, guidance=3.0, seed=9, prompt="red lava")
        assert_same_picture(paint(pipeline, picture, settings), reference.render(picture, settings))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("mode", ["image", "text"])
def test_the_turbo_family_equals_diffusers_euler(
    mode: str, steps: int, load: LoadRecipe, reference_of: ReferenceOf, picture: Pixels
) -> None:
    pipeline = load("turbo")
    settings = values(mode=mode, steps=steps, strength=1.0, seed=9)
    assert_same_picture(paint(pipeline, picture, settings),
                        reference_of(pipeline.recipe).render(picture, settings))


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_classifier_free_guidance_equals_diffusers(
    guidance: float, load: LoadRecipe, reference_of: ReferenceOf, picture: Pixels
) -> None:
    pipeline = load("kl")  # with the full VAE; text alone, since diffusers draws the image's latents at random
    settings = values(mode="text", steps=2, guidance=guidance, negative_prompt="blue", prompt="red lava")
    assert_same_picture(paint(pipeline, picture, settings),
                        reference_of(pipeline.recipe).render(picture, settings))


@pytest.mark.slow
def test_the_full_vae_encodes_images(load: LoadRecipe, picture: Pixels) -> None:
    first = paint(load("kl"), picture, values(strength=0.1))
    assert np.array_equal(first, paint(load("kl"), picture, values(strength=0.1)))
    assert not np.array_equal(first, paint(load("kl"), make_picture((64, 64), seed=1), values(strength=0.1)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECIPES)
def test_a_still_input_gives_a_still_output(kind: str, load: LoadRecipe, picture: Pixels) -> None:
    pipeline, settings = load(kind), values(steps=4, strength=0.7)
    first = paint(pipeline, picture, settings)
    paint(pipeline, make_picture((64, 64), seed=5), values(steps=1, seed=3, mode="text"))  # other frames in between
    assert np.array_equal(first, paint(pipeline, picture, settings))


@pytest.mark.parametrize(("name", "change"), [
    ("seed", {"seed": 1}), ("prompt", {"prompt": "fire"}), ("strength", {"strength": 0.8}), ("steps", {"steps": 3}),
    ("mode", {"mode": "text"}), ("guidance", {"guidance": 9.0}), ("mix", {"mix": 0.5}),
])
def test_every_fader_changes_the_result(name: str, change: Values, load: LoadRecipe, picture: Pixels) -> None:
    pipeline = load("embedded")
    assert not np.array_equal(paint(pipeline, picture, values()), paint(pipeline, picture, values(**change)))


@pytest.mark.slow
def test_the_negative_prompt_counts_only_above_guidance_one(load: LoadRecipe, picture: Pixels) -> None:
    pipeline = load("kl")
    for guidance, same in ((1.0, True), (4.0, False)):
        with_it = paint(pipeline, picture, values(guidance=guidance, negative_prompt="blue ocean"))
        assert np.array_equal(with_it, paint(pipeline, picture, values(guidance=guidance))) is same


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["velocity", "turbo"])
def test_strength_has_no_jump(kind: str, load: LoadRecipe, picture: Pixels) -> None:
    """One percent of the fader is a small change everywhere, from the untouched input to pure noise."""
    pipeline = load(kind)
    sweep = [paint(pipeline, picture, values(strength=i / 100)).astype(float) for i in range(101)]
    moves = [np.abs(b - a).mean() for a, b in itertools.pairwise(sweep)]
    assert moves[0] == pytest.approx(moves[1], rel=0.2), "the VAE's own loss comes in evenly, below FULL_MIX_STRENGTH"
    assert max(moves[2:]) < 4.0, "levels"


def test_strength_or_mix_zero_shows_the_input(load: LoadRecipe, picture: Pixels) -> None:
    for settings in (values(strength=0.0), values(mix=0.0), values(mix=0.0, mode="text")):
        assert np.array_equal(paint(load("epsilon"), picture, settings), picture)
    near = paint(load("epsilon"), picture, values(strength=FULL_MIX_STRENGTH / 200))
    assert np.abs(near.astype(int) - picture).max() <= 2


def test_text_mode_ignores_strength(load: LoadRecipe, picture: Pixels) -> None:
    pipeline = load("epsilon")
    first = paint(pipeline, picture, values(mode="text", strength=0.0))
    assert np.array_equal(first, paint(pipeline, picture, values(mode="text", strength=1.0)))


def test_mix_blends_the_result_over_the_input(load: LoadRecipe, picture: Pixels) -> None:
    pipeline = load("epsilon")
    whole = paint(pipeline, picture, values(mix=1.0)).astype(float)
    quarter = paint(pipeline, picture, values(mix=0.25)).astype(float)
    assert np.abs(quarter - (0.25 * whole + 0.75 * picture)).max() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (128, 96), (32, 32), (50, 38)])
def test_it_scales_between_output_and_render_size(size: Size, load: LoadRecipe) -> None:
    picture = np.ascontiguousarray(make_picture((128, 96))[:size[1], :size[0]])
    out = paint(load("epsilon", size), picture, values())
    assert out.shape == picture.shape
    assert np.array_equal(out[..., 3], picture[..., 3]), "alpha passes through"
    assert not np.array_equal(out[..., :3], picture[..., :3])


def test_a_read_only_frame_is_accepted(load: LoadRecipe, picture: Pixels) -> None:
    """Frames arrive in shared memory that must not be written to."""
    expected = paint(load("epsilon"), picture, values())
    frozen = picture.copy()
    frozen.flags.writeable = False
    assert np.array_equal(paint(load("epsilon"), frozen, values()), expected)


def test_it_reports_the_seconds_of_its_parts(load: LoadRecipe, picture: Pixels) -> None:
    seconds = load("epsilon").render(picture, values(), solid((64, 64)))
    assert list(seconds) == ["encode", "denoise", "decode"]
    assert all(part > 0 for part in seconds.values())


@pytest.mark.slow
def test_an_embedding_is_computed_once(load: LoadRecipe, picture: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load("embedded", parameters={"seed": 1})
    calls = []
    pipeline.renderer.components.text_encoders[0].model.register_forward_hook(lambda *_: calls.append(1))
    for prompt in ("lava", "ocean", "lava", "ocean", "lava"):
        paint(pipeline, picture, values(prompt=prompt, guidance=7.5))
    assert len(calls) == 2


@pytest.mark.slow
def test_bfloat16_renders_nearly_the_same(load: LoadRecipe, picture: Pixels) -> None:
    exact = paint(load("velocity"), picture, values()).astype(float)
    rough = paint(load("velocity", dtype="bfloat16"), picture, values()).astype(float)
    assert np.abs(exact - rough).mean() < 4.0


@pytest.mark.slow
def test_the_report_names_model_device_and_size(checkpoint: Checkpoint) -> None:
    lines: list[str] = []
    report = LatentConsistency(recipe_of(checkpoint("epsilon")), (128, 128)).load(lines.append)
    assert (report.model, report.dtype, report.size) == ("tiny", "float32", (64, 64))
    assert report.device.startswith("cpu (")
    assert "loading unet" in lines


def test_it_must_be_loaded_first(checkpoint: Checkpoint, picture: Pixels) -> None:
    with pytest.raises(EngineError, match="not loaded"):
        LatentConsistency(recipe_of(checkpoint("epsilon")), (64, 64)).render(picture, values(), solid((64, 64)))


@pytest.mark.parametrize(("kind", "changes", "words"), [
    ("epsilon", {"guidance": "embedded"}, "the UNet does not take its guidance as an input"),
    ("embedded", {"guidance": "none"}, "the UNet takes its guidance as an input"),
    ("epsilon", {"device": "cuda:7"}, "finds no cuda:7; use device: auto"),
    ("epsilon", {"size": (60, 64)}, "size 60x64 is not a multiple of 8 pixels"),
])
def test_a_recipe_that_does_not_fit_is_one_line(kind: str, changes: dict[str, Any], words: str,
                                                checkpoint: Checkpoint) -> None:
    recipe: Recipe = recipe_of(checkpoint(kind), **changes)
    with pytest.raises(RecipeError, match=words) as caught:
        LatentConsistency(recipe, (64, 64)).load(lambda line: None)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["image", "text", "control"])
def test_the_fallback_recipe_renders_with_the_values_of_the_failed_one(tmp_path: Path, mode: str) -> None:
    (tmp_path / "show.yaml").write_text("{recipe: sd-turbo, output: {size: [64, 64]}}")
    show = load_show(tmp_path / "show.yaml", environment={})
    pipeline = LatentConsistency(dataclasses.replace(show.fallback, size=(64, 64)), show.size)
    pipeline.load(lambda line: None)
    out = solid(show.size)
    pipeline.render(solid(show.size, (90, 60, 30, 255)), {**show.start_values(show.recipe), "mode": mode}, out)
    assert out[..., :3].std() > 1.0


@pytest.mark.slow
def test_the_builtin_model_renders_like_diffusers() -> None:
    recipe = dataclasses.replace(load_recipe("builtin"), device="cpu", dtype="float32", accelerate="none")
    need(Path(recipe.model, "unet").exists(), "the built-in model's weights are not in this checkout")
    pipeline, picture = LatentConsistency(recipe, recipe.size), make_picture(recipe.size)
    pipeline.load(lambda line: None)
    settings = {**recipe.start_values(), "prompt": "lava, glowing red"}
    expected = DiffusersReference(recipe, recipe.size).render(picture, settings)
    assert_same_picture(paint(pipeline, picture, settings), expected)
