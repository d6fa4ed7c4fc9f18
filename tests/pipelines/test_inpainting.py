"""Inpainting, compared with diffusers' own pipelines; what stays, what it costs, and recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import make_picture, values
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import diffusers
    import torch

    from lcm_daemon.pipelines import stable_diffusion
    from lcm_daemon.pipelines.components import load_components
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.frame_model import FrameModel
    from lcm_daemon.pipelines.latent_consistency import LatentConsistency
    from tests.rigs.card import Card, unplugged
    from tests.rigs.cuda import install

SIZE = (64, 64)
FAMILIES: dict[str, dict[str, Any]] = {
    "sd": {"schedule": tiny.TURBO, "unet": tiny.SD2}, "xl": {"schedule": tiny.TURBO, "unet": tiny.XL},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("inpainting")
    return {"sd": tiny.write_checkpoint(place / "sd", **FAMILIES["sd"]),
            "xl": tiny.write_xl(place / "xl", **FAMILIES["xl"])}


def make_mask(soft: bool = False) -> Pixels:
    """White squares of whole latents on black; or a slope from black to white."""
    mask = solid(SIZE)
    mask[..., :3] = 0
    if soft:
        mask[..., :3] = np.linspace(0, 255, SIZE[0]).astype(np.uint8)[None, :, None]
    else:
        mask[8:40, 16:48, :3] = mask[48:64, 0:8, :3] = 255
    return mask


class Loaded:
    """A loaded model, and the latents that it decodes."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.recipe: Recipe = tiny.recipe_of(folder, **{"sampler": "euler", **changes})
        self.pipeline = LatentConsistency(self.recipe, SIZE)
        self.pipeline.load(lambda line: None)
        self.model, self.decoded = self.pipeline.renderer.model, torch.empty(0)
        decoder = self.model._decoder

        def decode(latents: torch.Tensor) -> torch.Tensor:
            self.decoded = latents.clone()
            return decoder(latents)

        self.model._decoder = decode  # type: ignore[assignment]

    def values(self, **changes: Any) -> Values:
        return {**self.recipe.start_values(), "prompt": "red lava", "seed": 9, "inpaint": 1.0, **changes}

    def paint(self, guide: Pixels | None = None, picture: Pixels | None = None, **changes: Any) -> Pixels:
        out = solid(SIZE)
        self.pipeline.render(make_picture(SIZE) if picture is None else picture, self.values(**changes), out, guide)
        return out


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_latents_are_those_of_diffusers(family: str, folders: dict[str, Path]) -> None:
    """At a strength below 1: there diffusers starts from the input and noise, as it does here at each strength."""
    own = Loaded(folders[family])
    parts = load_components(own.recipe, torch.device("cpu"), torch.float32, lambda line: None)
    encoders = {f"{part}{suffix}": getattr(encoder, name)
                for suffix, encoder in zip(("", "_2"), parts.text_encoders, strict=False)
                for part, name in (("text_encoder", "model"), ("tokenizer", "tokenizer"))}
    kind = diffusers.StableDiffusionXLInpaintPipeline if family == "xl" else diffusers.StableDiffusionInpaintPipeline
    extra: dict[str, Any] = {"add_watermarker": False} if family == "xl" else {
        "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    schedule = diffusers.EulerDiscreteScheduler.from_config({**parts.schedule, "timestep_spacing": "trailing"})
    pipeline = kind(vae=parts.vae, unet=parts.unet, scheduler=schedule, **encoders, **extra)
    pipeline.set_progress_bar_config(disable=True)
    picture, mask = make_picture(SIZE), make_mask()
    for steps in (1, 2, 4):
        own.paint(mask, steps=steps, strength=0.5)
        expected = pipeline(
            "red lava", image=Image.fromarray(picture[..., :3]), mask_image=Image.fromarray(mask[..., 0]),
            num_inference_steps=2 * steps, strength=0.5, guidance_scale=1.0, width=SIZE[0], height=SIZE[1],
            generator=torch.Generator().manual_seed(9), output_type="latent").images
        assert (expected.std() > 0.1).all()
        torch.testing.assert_close(own.decoded, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["lcm", "euler_ancestral", "ddim", "tcd"])
def test_latents_outside_are_the_inputs_with_every_sampler(sampler: str, folders: dict[str, Path]) -> None:
    own = Loaded(folders["sd"], sampler=sampler)
    own.paint(make_mask(), steps=3, strength=0.8)
    inside = torch.from_numpy(make_mask()[4::8, 4::8, 0] > 0)
    assert torch.equal(own.decoded[0][:, ~inside], own.model._inpainting._latents[0][:, ~inside])
    assert not torch.equal(own.decoded[0][:, inside], own.model._inpainting._latents[0][:, inside])


@pytest.mark.slow
def test_the_input_stays_where_the_guide_is_black(folders: dict[str, Path]) -> None:
    own, picture, mask = Loaded(folders["sd"]), make_picture(SIZE), make_mask()
    out = own.paint(mask, steps=2)
    black = mask[..., 0] == 0
    assert np.abs(out[black].astype(int) - picture[black]).max() <= 1
    assert np.abs(out[~black].astype(int) - picture[~black]).mean() > 5
    half = own.paint(mask, steps=2, inpaint=0.5)
    assert np.abs(half[black].astype(int) - picture[black]).mean() > 1
    own.paint(mask, picture // 2, steps=2, steady=1.0)
    steady = own.paint(mask, picture // 2 + 4, steps=2, steady=1.0)
    assert np.abs(steady[black].astype(int) - (picture // 2 + 4)[black])[:, :3].max() <= 1, "as it is now"
    soft = own.paint(make_mask(soft=True), steps=2)
    off = [np.abs(soft[:, part].astype(int) - picture[:, part]).mean() for part in (slice(0, 8), slice(28, 36),
                                                                                   slice(56, 64))]
    assert off[0] < off[1] < off[2]


@pytest.mark.slow
def test_off_is_as_without_it_and_white_repaints_everything(folders: dict[str, Path]) -> None:
    own, white = Loaded(folders["sd"]), solid(SIZE)
    white[..., :3] = 255
    plain = own.paint(None, inpaint=0.0, steps=2)
    restored = 0

    def note(*arguments: Any) -> None:
        nonlocal restored
        restored += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own.model._inpainting, "restore", note)
        assert np.array_equal(own.paint(make_mask(), inpaint=0.0, steps=2), plain)
        assert np.array_equal(own.paint(None, steps=2), plain), "the guide has sent nothing"
        assert np.array_equal(own.paint(make_mask(), steps=2, mode="text"), own.paint(None, steps=2, mode="text"))
    assert restored == 0
    assert np.array_equal(own.paint(white, steps=2), plain)


def test_a_stream_batch_says_that_it_has_no_effect() -> None:
    needs = Recipe("own", stream_batch=True).table()["inpaint"].needs
    assert needs[0].reason == "the recipe own plays, which has a stream batch"
    assert all("stream batch" not in need.reason for need in Recipe("own").table()["inpaint"].needs)


@pytest.mark.compile
def test_recorded_frames_equal_those_that_run(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_diffusion, "fold_upsampling", lambda *arguments, **named: None)  # for the CPU alone
    machine, recipe = install(monkeypatch), tiny.recipe_of(folders["sd"], sampler="euler")
    with torch.inference_mode():
        recorded, plain = (FrameModel(recipe, load_components, torch.device("cpu"), torch.float32, lambda line: None,
                                      always=True) for _ in range(2))
        graphs, source = CudaGraphs(torch.device("cuda"), 64), torch.zeros(1, 3, 64, 64)
        image, guide = torch.zeros_like(source), torch.zeros_like(source)
        for model in (recorded, plain):
            model.conditioner._live._is_cached = False
        for number in range(WARM_UPS + 4):
            source.copy_(torch.rand(source.shape) * 2 - 1)
            guide.copy_(torch.rand(source.shape) * 2 - 1)
            values = FrameValues.of({**recipe.start_values(), "strength": 0.7, "inpaint": 0.5 + 0.05 * number})

            def paint(model: FrameModel, launches: bool, values: FrameValues = values) -> torch.Tensor:
                plan = model.prepare(values, values.strength, True)
                for _, work in model.changes():
                    work()

                def run() -> torch.Tensor:
                    return model.run(plan, image.copy_(source), guide, lambda part: None)

                return (graphs.launch(plan.key, run) if launches else run()).clone()

            torch.testing.assert_close(paint(recorded, True), paint(plain, False), atol=1 / 255, rtol=0)
    assert machine.log.count("replay") >= 3


def test_a_unet_that_was_trained_for_it_is_one_line(tmp_path: Path) -> None:
    folder = tiny.write_checkpoint(tmp_path / "model", tiny.TURBO, {"in_channels": 9})
    with pytest.raises(RecipeError, match=r"its UNet was trained for inpainting \(9 channels\), which is not"):
        LatentConsistency(tiny.recipe_of(folder, sampler="euler"), SIZE).load(lambda line: None)


@pytest.mark.slow
def test_frames_on_the_card_equal_those_of_the_cpu(card: Card, checkpoint: Callable[[str], Path]) -> None:
    """The guide is uploaded only for frames that need it; each change lasts long enough to record and to replay."""
    ours, plain = (LatentConsistency(tiny.recipe_of(checkpoint("epsilon"), device=device), SIZE)
                   for device in ("cuda", "cpu"))
    ours.load(lambda line: None)
    plain.load(lambda line: None)
    settings, number = values(steps=2, prompt="red lava"), 0
    for move in ({"inpaint": 1.0}, {"inpaint": 0.4}, {"inpaint": 0.0}, {"inpaint": 1.0, "feedback": 0.5},
                 {"mode": "text"}, {"mode": "image"}):
        settings.update(move)
        for _ in range(3):
            number += 1
            frame, found, expected = make_picture(SIZE, seed=number % 3), solid(SIZE), solid(SIZE)
            ours.render(frame, settings, found, make_mask(soft=number % 2 == 0))
            with unplugged():
                plain.render(frame, settings, expected, make_mask(soft=number % 2 == 0))
            assert np.abs(found.astype(int) - expected).max() <= 1, f"frame {number}, {move}"
    assert card.counts().get("replay", 0) > 8
