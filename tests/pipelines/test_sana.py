"""SANA-Sprint against diffusers' own pipelines, on a small random checkpoint of the real classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import make_picture
from tests.rigs import tiny_families
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import diffusers
    import torch
    from PIL import Image
    from transformers import AutoTokenizer, Gemma2Model

    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from tests.rigs.card import Card, unplugged

SIZE = (64, 64)
FAMILY: dict[str, Any] = {"family": "sana-sprint", "sampler": "scm", "guidance": "embedded"}
MIDDLE = 1.3 / 1.57080  # the strength that starts where the second of two steps starts


@dataclass
class Pair:
    """Ours and diffusers', loaded from the same files."""

    recipe: Recipe
    ours: LatentConsistency
    image: Any
    text: Any

    def paint(self, **changes: Any) -> Pixels:
        values: Values = {**self.recipe.start_values(), "prompt": "Red lava", "seed": 9, "guidance": 4.5, **changes}
        out = solid(SIZE)
        self.ours.render(make_picture(SIZE), values, out, None)
        return out[..., :3]

    def expected(self, steps: int, strength: float | None = None, prompt: str = "Red lava",
                 guidance: float = 4.5, **times: Any) -> Pixels:
        """By diffusers. strength: None is text mode."""
        values: dict[str, Any] = {
            "prompt": prompt, "num_inference_steps": steps, "generator": torch.Generator().manual_seed(9),
            "width": SIZE[0], "height": SIZE[1], "guidance_scale": guidance, "output_type": "np",
            "use_resolution_binning": False, **({} if steps == 2 else {"intermediate_timesteps": None}),
            **times}
        if strength is None:
            images = self.text(**values).images
        else:
            picture = Image.fromarray(make_picture(SIZE)[..., :3])
            images = self.image(image=picture, strength=strength, **values).images
        assert images[0].std() > 0.02, "a flat picture would prove nothing"
        return np.round(images[0] * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tiny_families.write_sana_sprint(tmp_path_factory.mktemp("sana") / "model")
    return make_pair(folder)


def make_pair(folder: Path) -> Pair:
    recipe = recipe_of(folder, **FAMILY)
    ours = LatentConsistency(recipe, SIZE)
    ours.load(lambda line: None)
    parts = {
        "transformer": diffusers.SanaTransformer2DModel.from_pretrained(folder / "transformer"),
        "vae": diffusers.AutoencoderDC.from_pretrained(folder / "vae"),
        "text_encoder": Gemma2Model.from_pretrained(folder / "text_encoder"),
        "tokenizer": AutoTokenizer.from_pretrained(folder / "tokenizer"),
        "scheduler": diffusers.SCMScheduler.from_pretrained(folder / "scheduler")}
    image, text = (kind(**parts) for kind in (diffusers.SanaSprintImg2ImgPipeline, diffusers.SanaSprintPipeline))
    for pipeline in (image, text):
        pipeline.set_progress_bar_config(disable=True)
    return Pair(recipe, ours, image, text)


def assert_equal(found: Pixels, expected: Pixels) -> None:
    """At most one level apart anywhere, and that in less than one byte of a hundred: rounding, nothing else."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "strength", "theirs"), [
    (1, 1.0, (1, 1.0)), (2, 1.0, (2, 1.0)), (4, 1.0, (4, 1.0)),
    (1, 0.25, (4, 0.25)), (3, 0.75, (4, 0.75)), (4, 0.5, (8, 0.5)), (1, MIDDLE, (2, 0.5)),
])
def test_image_to_image_equals_diffusers(pair: Pair, steps: int, strength: float, theirs: tuple[int, float]) -> None:
    """n steps of diffusers at the strength k / n are k steps here."""
    assert_equal(pair.paint(mode="image", steps=steps, strength=strength), pair.expected(*theirs))


@pytest.mark.slow
def test_strength_scales_both_of_two_steps(pair: Pair) -> None:
    found = pair.paint(mode="image", steps=2, strength=0.5)
    assert_equal(found, pair.expected(2, 1.0, max_timesteps=1.57080 / 2, intermediate_timesteps=1.3 / 2))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_text_to_image_equals_diffusers(pair: Pair, steps: int) -> None:
    assert_equal(pair.paint(mode="text", steps=steps), pair.expected(steps))


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "guidance"), [
    ("", 4.5), ("  Blue\nOCEAN ", 4.5), ("Red lava", 7.0), ("user prompt " * 60, 4.5),
], ids=["empty", "case and blanks", "guidance", "too long"])
def test_prompts_and_guidance_equal_diffusers(pair: Pair, prompt: str, guidance: float) -> None:
    found = pair.paint(mode="text", steps=2, prompt=prompt, guidance=guidance)
    assert_equal(found, pair.expected(2, prompt=prompt, guidance=guidance))
    assert np.abs(found.astype(int) - pair.paint(mode="text", steps=2).astype(int)).max() > 1


@pytest.mark.slow
def test_emphasis_weighs_the_attention_to_a_word(pair: Pair) -> None:
    plain, one = (pair.paint(mode="text", prompt=prompt) for prompt in ("red lava", "red (lava:1.0)"))
    assert np.array_equal(plain, one)
    seen = [pair.paint(mode="text", prompt=f"red (lava:{weight})").astype(int) for weight in (0.0, 0.5, 2.0)]
    assert all(np.abs(picture - plain).max() > 1 for picture in seen)
    rows = pair.ours.renderer.conditioner.prompts.rows("red (lava:0.5)")
    assert rows.factors[0] is not None
    lava = [weight for weight in rows.factors[0][0].tolist() if weight not in (0.0, 1.0)]
    assert lava == [0.5] * 3, "this tokenizer makes three tokens of it: la, v, a"


@pytest.mark.slow
def test_blends_meet_their_texts(pair: Pair) -> None:
    ends = [pair.paint(mode="text", prompt=prompt).astype(int) for prompt in ("red lava", "deep blue ocean at night")]
    near, middle, far = (pair.paint(mode="text", prompt=f"red lava::{1 - share} deep blue ocean at night::{share}")
                         for share in (0.001, 0.5, 0.999))
    assert [np.abs(near - ends[0]).mean() < 1, np.abs(far - ends[1]).mean() < 1] == [True, True]
    assert all(np.abs(middle - end).max() > 1 for end in ends)


# --- recorded ---

MOVES: list[dict[str, Any]] = [
    {}, {"strength": 0.4, "seed": 5}, {"guidance": 7.0}, {"prompt": "red (lava:1.4)"},
    {"prompt": Blend((("fire", 0.4), ("deep blue", 0.6)))}, {"mode": "text", "steps": 1},
]


@pytest.mark.slow
def test_recorded_frames_equal_those_of_the_cpu(card: Card, pair: Pair) -> None:
    """A change of prompt, strength, seed or guidance needs no other recording."""
    ours = LatentConsistency(replace(pair.recipe, device="cuda"), SIZE)
    ours.load(lambda line: None)
    assert ours.renderer.dtype == torch.float32
    settings = pair.recipe.start_values() | {"prompt": "red lava", "guidance": 4.5, "steps": 2}
    recordings = ours.renderer.recordings
    card.log.clear()
    for number, move in enumerate(move for move in MOVES for _ in range(3)):
        settings.update(move)
        found, expected = solid(SIZE), solid(SIZE)
        ours.render(make_picture(SIZE, number % 3), settings, found, None)
        with unplugged():
            pair.ours.render(make_picture(SIZE, number % 3), settings, expected, None)
        assert np.abs(found.astype(int) - expected).max() <= 1, f"frame {number}, {move}"
    assert card.counts()["replay"] >= 3 * len(MOVES)
    assert ours.renderer.recordings <= recordings + 1, "the blend of two texts"
    assert not ours.renderer.refused
