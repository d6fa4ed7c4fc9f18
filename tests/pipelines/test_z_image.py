"""Z-Image-Turbo against diffusers' own pipelines, on a small random checkpoint of the real classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from tests.pipelines.conftest import make_picture
from tests.rigs import tiny_families
from tests.rigs.family_pair import SIZE, FamilyPair, assert_equal
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import diffusers
    from transformers import AutoTokenizer, Qwen3Model

    from lcm_daemon.pipelines.diffusers_comparison import DiffusersComparison
    from lcm_daemon.pipelines.diffusers_reference import _encode_to_mean
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from lcm_daemon.pipelines.z_image import ZImage
    from tests.rigs.card import Card, unplugged

FAMILY: dict[str, Any] = {"family": "z-image", "sampler": "flow_euler", "guidance": "none"}


class ZImagePair(FamilyPair):
    """Ours and diffusers', loaded from the same files."""

    def expected(self, steps: int, strength: float | None = None, prompt: str = "Red lava") -> Pixels:
        """strength: None is text mode."""
        values: dict[str, Any] = {"prompt": prompt, "num_inference_steps": steps, "guidance_scale": 0.0}
        if strength is None:
            return self.call(self.others[0], width=SIZE[0], height=SIZE[1], **values)
        return self.call(self.theirs, image=self.picture(), strength=strength, **values)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ZImagePair:
    folder = tiny_families.write_z_image(tmp_path_factory.mktemp("z-image") / "model")
    parts = {
        "transformer": diffusers.ZImageTransformer2DModel.from_pretrained(folder / "transformer"),
        "vae": diffusers.AutoencoderKL.from_pretrained(folder / "vae"),
        "text_encoder": Qwen3Model.from_pretrained(folder / "text_encoder"),
        "tokenizer": AutoTokenizer.from_pretrained(folder / "tokenizer"),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")}
    _encode_to_mean(parts["vae"])
    return ZImagePair(recipe_of(folder, **FAMILY), diffusers.ZImageImg2ImgPipeline(**parts),
                      diffusers.ZImagePipeline(**parts))


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "strength", "theirs"), [
    (1, 1.0, (1, 1.0)), (2, 1.0, (2, 1.0)), (4, 1.0, (4, 1.0)), (1, 0.25, (4, 0.25)), (2, 0.5, (4, 0.5)),
    (4, 0.5, (8, 0.5)),
])
def test_image_to_image_equals_diffusers(
    pair: ZImagePair, steps: int, strength: float, theirs: tuple[int, float]
) -> None:
    """n steps of diffusers at the strength k / n are k steps here."""
    assert_equal(pair.paint(mode="image", steps=steps, strength=strength), pair.expected(*theirs))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_text_to_image_equals_diffusers(pair: ZImagePair, steps: int) -> None:
    assert_equal(pair.paint(mode="text", steps=steps), pair.expected(steps))


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["", "deep blue ocean " * 3, "deep blue " * 70], ids=["empty", "longer", "too long"])
def test_prompts_of_any_length_equal_diffusers(pair: ZImagePair, prompt: str) -> None:
    """A prompt of another length has other chunks: the image's tokens then have other places."""
    found = pair.paint(mode="text", steps=2, prompt=prompt)
    assert_equal(found, pair.expected(2, prompt=prompt.strip()))
    assert np.abs(found.astype(int) - pair.paint(mode="text", steps=2)).mean() > 0.5


@pytest.mark.slow
def test_the_bench_plays_a_family_without_diffusers(pair: ZImagePair) -> None:
    """All forms share the modules that were loaded once."""
    rows = DiffusersComparison(pair.recipe).measure(1, 2)
    assert {name: len(row) for name, row in rows.items()} == {"eager": 2}
    first, second = (ZImage().make_denoiser(pair.ours.renderer.components.unet) for _ in range(2))
    assert first.embedder is second.embedder


@pytest.mark.slow
def test_recorded_frames_equal_those_of_the_cpu(card: Card, pair: ZImagePair) -> None:
    ours = LatentConsistency(replace(pair.recipe, device="cuda"), SIZE)
    ours.load(lambda line: None)
    settings = pair.recipe.start_values() | {"prompt": "red lava", "steps": 2}
    moves: list[dict[str, Any]] = [{}, {"strength": 0.4}, {"prompt": "deep ocean"}, {"prompt": "deep ocean " * 5}]
    card.log.clear()
    for number, move in enumerate(move for move in moves for _ in range(3)):
        settings.update(move)
        found, expected = solid(SIZE), solid(SIZE)
        ours.render(make_picture(SIZE, number % 3), settings, found, None)
        with unplugged():
            pair.ours.render(make_picture(SIZE, number % 3), settings, expected, None)
        assert np.abs(found.astype(int) - expected).max() <= 1, f"frame {number}, {move}"
    assert card.counts()["replay"] >= 2 * len(moves)
    assert not ours.renderer.refused
