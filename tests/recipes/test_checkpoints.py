"""A whole model in one file over a base: what the recipe then is, and which files cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.recipes.checkpoints import advise, kind_problem, laid_over, parts_in
from lcm_daemon.recipes.families import SD1, SDXL, Family, WeightKind
from lcm_daemon.recipes.reader import load_recipe, read_recipe
from lcm_daemon.recipes.recipe import Recipe


def read(text: str, folder: Path, file: str = "show.yaml") -> Recipe:
    problems = Problems()
    recipe = read_recipe(compose(text, file), folder, problems)
    problems.raise_if_any()
    assert recipe is not None
    return recipe


def test_the_base_stays_except_for_its_weights(tmp_path: Path) -> None:
    recipe, base = read("{base: sd15-lcm, checkpoint: merges/dream.safetensors}", tmp_path), load_recipe("sd15-lcm")
    assert recipe.checkpoint == str(tmp_path / "merges" / "dream.safetensors")
    assert (recipe.model, recipe.vae, recipe.loras, recipe.sampler) == (base.model, base.vae, base.loras, base.sampler)
    assert (recipe.title, recipe.licence, recipe.download) == ("dream, over sd15-lcm", "", "")
    named = read("{base: sd15-lcm, checkpoint: a/b/c.safetensors, title: Ours, licence: MIT}", tmp_path)
    assert (named.title, named.licence, named.checkpoint) == ("Ours", "MIT", "a/b/c.safetensors")


def test_another_model_replaces_the_bases_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("{base: sd15-lcm, checkpoint: a.safetensors}")
    assert read("{base: mine.yaml, size: [640, 384]}", tmp_path).checkpoint == str(tmp_path / "a.safetensors")
    assert read("{base: mine.yaml, model: some/other}", tmp_path).checkpoint == ""
    assert laid_over({"checkpoint": "a"}, {"model": "m", "checkpoint": "b"})["checkpoint"] == "b"


def test_what_a_pull_is_given(tmp_path: Path) -> None:
    mine, show = tmp_path / "mine.yaml", tmp_path / "show.yaml"
    mine.write_text("{base: sd15-lcm, vae: ''}")
    show.write_text("{}")
    assert load_recipe("sd15-lcm").origin == "sd15-lcm"
    assert read("mine.yaml", tmp_path).origin == str(mine)
    assert read("sd-turbo", tmp_path).origin == "sd-turbo"
    assert read("{base: sd15-lcm, vae: ''}", tmp_path, str(show)).origin == str(show)
    assert read("{base: mine.yaml, size: [64, 64]}", tmp_path, str(show)).origin == str(show)
    assert read("{base: sd15-lcm}", tmp_path, "--set recipe").origin == ""
    assert read("mine.yaml", tmp_path) == read("mine.yaml", tmp_path)


def test_parts_of_a_file() -> None:
    assert parts_in(["model.diffusion_model.out.0.bias", "cond_stage_model.transformer.text_model.x"]) == {
        "unet", "text_encoder"}
    assert parts_in(["conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.x",
                     "first_stage_model.x"]) == {"text_encoder", "text_encoder_2", "vae"}
    assert parts_in(["cond_stage_model.model.x", "vae.decoder.x"]) == {"text_encoder", "vae"}
    assert parts_in([]) == frozenset()


@pytest.mark.parametrize(("kind", "problem"), [
    (WeightKind("checkpoint", SD1, True, 4), ""),
    (WeightKind("checkpoint", SDXL, True, 4),
     "is a whole model in one file for SDXL (context 2048), the base's model m is SD 1.x (context 768); "
     "the base for it is sdxl-lcm"),
    (WeightKind("checkpoint", SD1, True, 9),
     "has a UNet of 9 input channels (it is made for inpainting); the base's has 4"),
    (WeightKind("checkpoint", SD1, True, 8),
     "has a UNet of 8 input channels (it is made for InstructPix2Pix); the base's has 4"),
    (WeightKind("checkpoint", Family("SD 3"), True, 0),
     "is a whole model in one file for SD 3, the base's model m is SD 1.x (context 768)"),
    (WeightKind("checkpoint", None, True, 0), "has no UNet of Stable Diffusion"),
    (WeightKind("lora", SD1),
     "is a LoRA for SD 1.x (context 768), not a whole model in one file: write it under loras"),
    (WeightKind("unet", SD1, True, 4), "is a UNet for SD 1.x (context 768), not a whole model in one file: write it as "
                                       "unet"),
    (WeightKind(""), "is a file of unknown keys, not a whole model in one file"),
])
def test_what_cannot_be_a_checkpoint(kind: WeightKind, problem: str) -> None:
    assert kind_problem(kind, SD1, 4, "m") == problem


def test_the_base_of_a_file_that_is_not_there_is_the_usual_one(tmp_path: Path) -> None:
    assert advise(tmp_path / "x.safetensors") == "{base: sd15-lcm, checkpoint: x.safetensors}"
