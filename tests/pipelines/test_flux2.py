"""FLUX.2 klein against diffusers' own pipeline, on a small random checkpoint of the real classes."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
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
    import torch
    from transformers import AutoTokenizer, Qwen3ForCausalLM

    from lcm_daemon.pipelines import flux2
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from tests.rigs.card import Card, unplugged

FAMILY: dict[str, Any] = {"family": "flux2-klein", "sampler": "flux2", "guidance": "none"}


class Klein(FamilyPair):
    """Ours and diffusers', loaded from the same files."""

    def expected(self, steps: int, image: bool, prompt: str = "Red lava") -> Pixels:
        picture = {"image": self.picture()} if image else {}
        return self.call(self.theirs, num_inference_steps=steps, prompt=prompt, width=SIZE[0], height=SIZE[1],
                         text_encoder_out_layers=LAYERS, **picture)


LAYERS = (1, 2, 4)  # of a text encoder that is shorter than the real one


def test_the_layers_are_those_of_diffusers() -> None:
    parameters = inspect.signature(diffusers.Flux2KleinPipeline.__call__).parameters
    assert parameters["text_encoder_out_layers"].default == flux2.LAYERS
    assert parameters["max_sequence_length"].default == flux2.TOKENS


@pytest.fixture(scope="module")
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flux2, "LAYERS", LAYERS)
        yield


@pytest.fixture(scope="module")
def pair(short: None, tmp_path_factory: pytest.TempPathFactory) -> Klein:
    folder = tiny_families.write_flux2_klein(tmp_path_factory.mktemp("flux2") / "model")
    theirs = diffusers.Flux2KleinPipeline(
        transformer=diffusers.Flux2Transformer2DModel.from_pretrained(folder / "transformer"),
        vae=diffusers.AutoencoderKLFlux2.from_pretrained(folder / "vae"),
        text_encoder=Qwen3ForCausalLM.from_pretrained(folder / "text_encoder"),
        tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"), is_distilled=True)
    return Klein(recipe_of(folder, **FAMILY), theirs)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("mode", ["image", "text"])
def test_pictures_equal_diffusers(pair: Klein, steps: int, mode: str) -> None:
    """At strength 1, which is the only one that diffusers has."""
    found = pair.paint(mode=mode, steps=steps, strength=1.0)
    assert_equal(found, pair.expected(steps, image=mode == "image"))


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["", " Blue (ocean) ", "deep blue " * 70], ids=["empty", "plain", "too long"])
def test_prompts_equal_diffusers(pair: Klein, prompt: str) -> None:
    found = pair.paint(mode="image", steps=2, strength=1.0, prompt=prompt.replace("(", "\\(").replace(")", "\\)"))
    assert_equal(found, pair.expected(2, image=True, prompt=prompt.strip()))
    assert np.abs(found.astype(int) - pair.paint(mode="image", steps=2, strength=1.0)).mean() > 0.5


@pytest.mark.slow
def test_strength_goes_on_to_the_input(pair: Klein) -> None:
    """Below 1 the picture starts from the noisy input, beside the reference: no jump on the way there."""
    seen = [pair.paint(mode="image", steps=2, strength=strength).astype(int) for strength in (1.0, 0.9999, 0.5, 0.1)]
    assert np.abs(seen[0] - seen[1]).mean() < 1
    assert all(np.abs(one - other).mean() > 1 for one, other in itertools.pairwise(seen[1:]))


@pytest.mark.slow
def test_recorded_frames_equal_those_of_the_cpu(card: Card, pair: Klein) -> None:
    ours = LatentConsistency(replace(pair.recipe, device="cuda"), SIZE)
    ours.load(lambda line: None)
    settings = pair.recipe.start_values() | {"prompt": "red lava", "steps": 2, "strength": 1.0}
    recordings = ours.renderer.recordings
    moves: list[dict[str, Any]] = [{}, {"strength": 0.4}, {"prompt": "deep ocean"}, {"mode": "text"}, {"mode": "image"}]
    card.log.clear()
    for number, move in enumerate(move for move in moves for _ in range(3)):
        settings.update(move)
        found, expected = solid(SIZE), solid(SIZE)
        ours.render(make_picture(SIZE, number % 3), settings, found, None)
        with unplugged():
            pair.ours.render(make_picture(SIZE, number % 3), settings, expected, None)
        assert np.abs(found.astype(int) - expected).max() <= 1, f"frame {number}, {move}"
    assert card.counts()["replay"] >= 3 * len(moves)
    assert (ours.renderer.recordings, ours.renderer.refused) == (recordings, "")
    assert torch.is_tensor(ours.renderer.components.unet.x_embedder.weight)
