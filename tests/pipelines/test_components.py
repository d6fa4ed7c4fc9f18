"""Weights that are there, that are not, and that are damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from lcm_daemon.errors import RecipeError
from lcm_daemon.pipelines.components import Codec, load_components
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipe import Lora, Recipe, load_recipe
from tests.pipelines import tiny
from tests.pipelines.tiny import recipe_of

Checkpoint = Callable[[str], Path]
CPU = torch.device("cpu")
UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint of one's own to damage."""
    return Path(shutil.copytree(checkpoint("epsilon"), tmp_path / "model"))


def refused(recipe: Recipe) -> str:
    """The one line that loading ends with."""
    with pytest.raises(RecipeError) as caught:
        load_components(recipe, CPU, torch.float32, lambda line: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def scramble(file: Path) -> None:
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])


def lose_one(file: Path) -> None:
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, file, metadata={"format": "pt"})


def reshape_one(file: Path) -> None:
    tensors = load_file(file)
    tensors["conv_in.weight"] = torch.zeros(3, 3)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("damage", [cut, scramble, lose_one, reshape_one])
def test_corrupt_weights_are_one_line(damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / UNET)
    line = refused(recipe_of(copy))
    assert f"recipe tiny: unet at {copy / 'unet'} cannot be loaded" in line


@pytest.mark.parametrize("damage", [cut, lose_one])
@pytest.mark.parametrize(("part", "file"), [
    ("text_encoder", "model.safetensors"), ("vae", "diffusion_pytorch_model.safetensors"),
])
def test_so_are_those_of_the_other_parts(part: str, file: str, damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / part / file)
    assert f"{part} at {copy / part} cannot be loaded" in refused(recipe_of(copy))


@pytest.mark.parametrize("text", ["{", "[]", '{"_class_name": "Transformer2DModel"}'])
def test_a_config_of_another_kind_is_one_line(text: str, copy: Path) -> None:
    (copy / "unet" / "config.json").write_text(text)
    assert "unet at" in refused(recipe_of(copy))


def test_pickled_weights_are_not_read(copy: Path) -> None:
    torch.save(load_file(copy / UNET), copy / "unet" / "diffusion_pytorch_model.bin")
    (copy / UNET).unlink()
    assert "not on this machine" in refused(recipe_of(copy))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(part: str, copy: Path) -> None:
    shutil.rmtree(copy / part)
    assert f"not on this machine: {copy}/{part}; give the folder" in refused(recipe_of(copy))


def test_all_that_is_missing_stands_in_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch,
                                                                 tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    recipe = load_recipe("sd15-lcm")
    line = refused(recipe)
    for source in (recipe.model, recipe.vae, recipe.loras[0].model):
        assert f"{source}" in line.split(";")[0]
    assert line.endswith(f"fetch it with: {recipe.fetch}")


def test_a_recipe_without_a_command_gets_one(tmp_path: Path) -> None:
    line = refused(Recipe("own", model="nobody/nothing", vae="nobody/no-vae"))
    assert line.endswith("hf download nobody/nothing && hf download nobody/no-vae")


def test_a_hub_id_is_looked_up_in_the_local_cache(checkpoint: Checkpoint, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(checkpoint("epsilon"), repository / "snapshots" / ("0" * 40))
    assert locate(Recipe("own", model="some/model")).model == repository / "snapshots" / ("0" * 40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_everything_comes_up_in_one_dtype(dtype: torch.dtype, copy: Path) -> None:
    tensors = {key: tensor.half() for key, tensor in load_file(copy / UNET).items()}
    save_file(tensors, copy / UNET, metadata={"format": "pt"})
    parts = load_components(recipe_of(copy), CPU, dtype, lambda line: None)
    for module in (parts.unet, parts.vae, parts.text_encoder):
        assert {parameter.dtype for parameter in module.parameters()} == {dtype}


def test_half_precision_files_are_taken_where_they_are_alone(copy: Path) -> None:
    for file in list(copy.rglob("*.safetensors")):
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    load_components(recipe_of(copy), CPU, torch.float32, lambda line: None)


def test_another_vae_takes_the_place_of_the_models_own(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "vae")
    tiny.make_kl_vae().save_pretrained(tmp_path / "other")
    parts = load_components(recipe_of(copy, vae=str(tmp_path / "other")), CPU, torch.float32, lambda line: None)
    assert type(parts.vae).__name__ == "AutoencoderKL"
    assert Codec(parts).factor == 8


def test_the_codec_scales_latents_as_the_unet_knows_them(checkpoint: Checkpoint) -> None:
    parts = load_components(recipe_of(checkpoint("kl")), CPU, torch.float32, lambda line: None)
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        latents = Codec(parts).encode(picture)
        torch.testing.assert_close(latents, parts.vae.encode(picture).latent_dist.mean * 0.18215)
        torch.testing.assert_close(Codec(parts).decode(latents), parts.vae.decode(latents / 0.18215).sample)


def test_a_lora_is_merged_by_its_weight(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = write_lora(checkpoint("epsilon"), tmp_path)
    weights: dict[float, torch.Tensor] = {}
    for scale in (0.0, 0.5, 1.0):
        recipe = recipe_of(checkpoint("epsilon"), loras=(Lora(str(file), scale),))
        parts = load_components(recipe, CPU, torch.float32, lambda line: None)
        assert not any("lora" in name for name, _ in parts.unet.named_parameters())
        weights[scale] = parts.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1.to_q.weight
    assert not torch.equal(weights[0.0], weights[1.0])
    torch.testing.assert_close(weights[0.5], (weights[0.0] + weights[1.0]) / 2)


def write_lora(model: Path, folder: Path) -> Path:
    """A random LoRA for the UNet of `model`, as diffusers saves it."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import get_peft_model_state_dict

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights="gaussian"))
    state: dict[str, Any] = get_peft_model_state_dict(unet)
    torch.manual_seed(2)
    state = {key: torch.randn_like(tensor) * 0.1 for key, tensor in state.items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=state)
    return folder / "pytorch_lora_weights.safetensors"


def test_a_damaged_lora_is_one_line(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = write_lora(checkpoint("epsilon"), tmp_path)
    cut(file)
    assert f"lora at {file} cannot be loaded" in refused(recipe_of(checkpoint("epsilon"), loras=(Lora(str(file)),)))


def test_schedule_is_plain_data(checkpoint: Checkpoint) -> None:
    parts = load_components(recipe_of(checkpoint("velocity")), CPU, torch.float32, lambda line: None)
    assert parts.schedule == json.loads(json.dumps(dict(parts.schedule)))
    assert parts.schedule["rescale_betas_zero_snr"] is True
