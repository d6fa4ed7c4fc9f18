"""What `check` refuses in recipes of a family that is not Stable Diffusion, and what `pull` fetches for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.recipes.downloads import needed_files, select_files
from lcm_daemon.recipes.hub_cache import HubFile, Listing
from lcm_daemon.recipes.reader import load_recipe, read_recipe
from lcm_daemon.recipes.registry import FAMILIES


def mistakes(text: str) -> list[str]:
    problems = Problems()
    read_recipe(compose(text, "show.yaml"), Path("shows"), problems)
    return [str(problem) for problem in problems.found]


@pytest.mark.parametrize(("more", "expected"), [
    ("loras: [a/b]", "show.yaml:1:28: SANA-Sprint takes no LoRAs: remove loras"),
    ("controlnets: [{name: x, model: a/b}]", "show.yaml:1:34: SANA-Sprint takes no ControlNets: remove controlnets"),
    ("image_prompt: {model: a/b, encoder: c/d}", "SANA-Sprint takes no image prompt: remove image_prompt"),
    ("unet: a/b", "SANA-Sprint takes no other UNet: remove unet"),
    ("stream_batch: true", "SANA-Sprint takes no stream batch: remove stream_batch"),
    ("sampler: lcm", "SANA-Sprint takes sampler: scm, not lcm"),
    ("guidance: classifier_free", "SANA-Sprint takes guidance: embedded, not classifier_free"),
    ("accelerate: compile", "SANA-Sprint takes accelerate: none, not compile"),
    ("device: 'openvino:GPU'", "SANA-Sprint does not run with OpenVINO: choose another device"),
    ("clip_skip: 2", "SANA-Sprint takes no clip_skip: remove clip_skip"),
    ("size: [520, 512]", "SANA-Sprint renders sizes in multiples of 32 pixels: [512, 512] is near [520, 512]"),
])
def test_what_a_family_cannot_do_is_refused_where_it_is_written(more: str, expected: str) -> None:
    (found,) = mistakes(f"{{base: sana-sprint, {more}}}")
    assert expected in found


def test_what_it_can_do_is_accepted() -> None:
    assert mistakes("{base: sana-sprint, size: [832, 480], vae: mit-han-lab/dc-ae-lite-f32c32-sana-1.1-diffusers, "
                    "dtype: bfloat16, safety: true, schedule: {intermediate_timesteps: 0}}") == []


def test_a_recipe_that_changes_the_family_learns_what_its_base_has() -> None:
    found = mistakes("{base: sdxl-lcm, family: sana-sprint}")
    assert [mistake.partition(": ")[2].partition(":")[0] for mistake in found] == [
        "SANA-Sprint takes no LoRAs", "SANA-Sprint takes sampler", "SANA-Sprint takes guidance",
        "SANA-Sprint takes accelerate"]
    assert all(mistake.startswith("show.yaml:1:26: ") for mistake in found)


def test_the_samplers_of_other_families_are_not_for_stable_diffusion() -> None:
    (found,) = mistakes("{base: sd-turbo, sampler: scm}")
    assert "Stable Diffusion takes sampler: lcm or euler or" in found
    (found,) = mistakes("{base: sd-turbo, family: sana}")
    assert "'sana' is not one of stable-diffusion, " in found


@pytest.mark.parametrize("name", ["sd15-lcm", "sana-sprint"])
def test_a_negative_prompt_needs_a_second_pass(name: str) -> None:
    recipe = load_recipe(name)
    needs = [need.reason for need in recipe.table()["negative_prompt"].needs if not need.conditions]
    assert bool(needs) == ("classifier_free" not in FAMILIES[recipe.family].guidance)


# --- pull ---

SHARDED = (  # of SANA-Sprint's repositories, as their pages list them
    "README.md", "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.json", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer.json",
    "tokenizer/tokenizer.model", "tokenizer/tokenizer_config.json", "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize("name", ["sana-sprint", "sana-sprint-1.6b", "flux2-klein"])
def test_pull_fetches_every_part(name: str) -> None:
    (needed,) = needed_files(load_recipe(name))
    files = {path: HubFile(path, 1, "0") for path in SHARDED}
    selected = [file.path for file in select_files(needed, Listing("a" * 40, files))]
    assert sorted(selected) == sorted(SHARDED[2:])
