"""Weights that exist, that are missing, and that are damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.parts import ControlNet, Files, ImagePrompt, Lora
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from safetensors.torch import load_file, save_file

    from lcm_daemon.pipelines.components import Components, load_components
    from lcm_daemon.pipelines.vae import VaeCodec

Checkpoint = Callable[[str], Path]
CPU = torch.device("cpu")
UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to be damaged."""
    return Path(shutil.copytree(checkpoint("epsilon"), tmp_path / "model"))


def refused(recipe: Recipe) -> str:
    """The error of loading, which must be one line."""
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


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lose_one, reshape_one])
def test_corrupt_weights_are_one_line(damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / UNET)
    line = refused(recipe_of(copy))
    assert f"recipe tiny: unet at {copy / 'unet'} cannot be loaded" in line


@pytest.mark.parametrize(("part", "file"), [
    ("text_encoder", "model.safetensors"), ("vae", "diffusion_pytorch_model.safetensors"),
])
def test_corrupt_weights_of_other_parts_are_one_line(part: str, file: str, copy: Path) -> None:
    lose_one(copy / part / file)
    assert f"{part} at {copy / part} cannot be loaded" in refused(recipe_of(copy))


@pytest.mark.parametrize(("damage", "words"), [
    (cut, "is cut off: the download is incomplete"), (scramble, "is not a .safetensors file")])
@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_files_that_are_no_weights_are_found_before_any_is_read(
    part: str, damage: Callable[[Path], None], words: str, copy: Path
) -> None:
    (file,) = (copy / part).glob("*.safetensors")
    damage(file)
    with pytest.raises(RecipeError, match=f"recipe tiny: {part} {file} {words}"):
        locate(recipe_of(copy))


@pytest.mark.parametrize("text", ["{", "[]", '{"_class_name": "Transformer2DModel"}'])
def test_a_config_of_another_kind_is_one_line(text: str, copy: Path) -> None:
    (copy / "unet" / "config.json").write_text(text)
    assert str(copy / "unet") in refused(recipe_of(copy))


def test_pickled_weights_are_not_read(copy: Path) -> None:
    torch.save(load_file(copy / UNET), copy / "unet" / "diffusion_pytorch_model.bin")
    (copy / UNET).unlink()
    assert (f"{copy}/unet has no weights as .safetensors; diffusion_pytorch_model.bin is a pickle, which is not loaded"
            in refused(recipe_of(copy)))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(part: str, copy: Path) -> None:
    shutil.rmtree(copy / part)
    assert refused(recipe_of(copy)).startswith(f"recipe tiny: {copy}/{part} does not exist")


def test_everything_missing_is_listed_in_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch,
                                                                 tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    recipe = load_recipe("sd15-lcm")
    line = refused(recipe)
    for source in (recipe.model, recipe.vae, recipe.loras[0].model):
        assert f"{source}" in line.split(";")[0]
    assert line.endswith("fetch them with: lcm-daemon pull sd15-lcm")


def test_a_recipe_that_no_file_has_gets_a_download_command_too(tmp_path: Path) -> None:
    usual = '--include "*.json" "*.txt" "*.safetensors"'
    line = refused(Recipe("own", model="owner/nothing", vae="owner/no-vae"))
    assert line.endswith(f"hf download owner/nothing {usual} && hf download owner/no-vae {usual}")


def test_a_hub_id_is_looked_up_in_the_local_cache(checkpoint: Checkpoint, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(checkpoint("epsilon"), repository / "snapshots" / ("0" * 40))
    assert locate(Recipe("own", model="some/model")).model == repository / "snapshots" / ("0" * 40)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_parts_load_in_one_dtype(dtype: torch.dtype, copy: Path) -> None:
    tensors = {key: tensor.half() for key, tensor in load_file(copy / UNET).items()}
    save_file(tensors, copy / UNET, metadata={"format": "pt"})
    parts = load_components(recipe_of(copy), CPU, dtype, lambda line: None)
    for module in (parts.unet, parts.vae, parts.text_encoders[0].model):
        assert {parameter.dtype for parameter in module.parameters()} == {dtype}


def test_half_precision_files_are_used_where_there_are_no_others(copy: Path) -> None:
    for file in list(copy.rglob("*.safetensors")):
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    load_components(recipe_of(copy), CPU, torch.float32, lambda line: None)


@pytest.mark.slow
def test_the_recipes_vae_replaces_the_models_own(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "vae")
    tiny.make_kl_vae().save_pretrained(tmp_path / "other")
    parts = load_components(recipe_of(copy, vae=str(tmp_path / "other")), CPU, torch.float32, lambda line: None)
    assert type(parts.vae).__name__ == "AutoencoderKL"
    assert VaeCodec(parts.vae).factor == 8


@pytest.mark.slow
def test_the_codec_scales_latents_as_the_unet_expects(checkpoint: Checkpoint) -> None:
    parts = load_components(recipe_of(checkpoint("kl")), CPU, torch.float32, lambda line: None)
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        codec = VaeCodec(parts.vae)
        latents = codec.encoder(picture)
        torch.testing.assert_close(latents, parts.vae.encode(picture).latent_dist.mean * 0.18215)
        torch.testing.assert_close(codec.decoder(latents), parts.vae.decode(latents / 0.18215).sample)


@pytest.mark.slow
def test_schedule_is_plain_data(checkpoint: Checkpoint) -> None:
    parts = load_components(recipe_of(checkpoint("velocity")), CPU, torch.float32, lambda line: None)
    assert parts.schedule == json.loads(json.dumps(dict(parts.schedule)))
    assert parts.schedule["rescale_betas_zero_snr"] is True


def load(recipe: Recipe, dtype: torch.dtype = torch.float32) -> Components:
    return load_components(recipe, CPU, dtype, lambda line: None)


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_xl(tmp_path_factory.mktemp("xl") / "model", vae=tiny.make_kl_vae())


@pytest.fixture
def own_xl(xl: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(xl, tmp_path / "model"))


@pytest.mark.slow
def test_stable_diffusion_xl_has_two_text_encoders(xl: Path) -> None:
    parts = load(recipe_of(xl))
    assert [type(encoder.model).__name__ for encoder in parts.text_encoders] == [
        "CLIPTextModel", "CLIPTextModelWithProjection"]
    assert [encoder.tokenizer.pad_token for encoder in parts.text_encoders] == ["<|endoftext|>", "!"]
    assert parts.force_zeros


@pytest.mark.slow
@pytest.mark.parametrize(("index", "zeros"), [('{"force_zeros_for_empty_prompt": false}', False), ("{}", True)])
def test_the_model_index_decides_about_empty_prompts(index: str, zeros: bool, own_xl: Path) -> None:
    (own_xl / "model_index.json").write_text(index)
    assert load(recipe_of(own_xl)).force_zeros is zeros
    (own_xl / "model_index.json").unlink()
    assert load(recipe_of(own_xl)).force_zeros


def test_other_families_have_one_text_encoder(checkpoint: Checkpoint) -> None:
    parts = load(recipe_of(checkpoint("epsilon")))
    assert len(parts.text_encoders) == 1
    assert not parts.force_zeros


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2"])
def test_a_missing_second_text_encoder_is_named(part: str, own_xl: Path) -> None:
    shutil.rmtree(own_xl / part)
    assert f"{own_xl}/{part} does not exist" in refused(recipe_of(own_xl))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder_2"])
def test_a_part_of_another_kind_is_one_line(part: str, own_xl: Path) -> None:
    config = {"_class_name": "ControlNetModel", "addition_embed_type": "text_time"}
    (own_xl / part / "config.json").write_text(json.dumps(config))
    assert "ControlNetModel is not one of" in refused(recipe_of(own_xl))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [tiny.SD2, tiny.SSD, tiny.SDXS], ids=["sd2", "ssd", "sdxs"])
def test_the_families_unets_load_by_their_configs(kind: dict[str, Any], tmp_path: Path) -> None:
    write = tiny.write_xl if "addition_embed_type" in kind else tiny.write_checkpoint
    parts = load(recipe_of(write(tmp_path / "model", unet=kind)), torch.float16)
    for name, value in kind.items():
        assert json.dumps(parts.unet.config[name]) == json.dumps(value)


@pytest.mark.slow
def test_a_vae_that_overflows_in_float16_stays_in_float32(xl: Path, checkpoint: Checkpoint, own_xl: Path) -> None:
    assert load(recipe_of(xl), torch.float16).vae.dtype == torch.float32
    assert load(recipe_of(xl), torch.bfloat16).vae.dtype == torch.bfloat16
    assert load(recipe_of(checkpoint("kl")), torch.float16).vae.dtype == torch.float16
    config = own_xl / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": False}))
    assert load(recipe_of(own_xl), torch.float16).vae.dtype == torch.float16  # as the mended VAE says


@pytest.fixture
def unet_file(xl: Path, tmp_path: Path) -> Path:
    """Only a UNet's weights, in half precision, like SDXL-Lightning's."""
    tensors = {key: -tensor.half() for key, tensor in load_file(xl / UNET).items()}
    save_file(tensors, tmp_path / "lightning_4step_unet.safetensors")
    return tmp_path / "lightning_4step_unet.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_unet_may_be_one_file(dtype: torch.dtype, xl: Path, unet_file: Path) -> None:
    own, other = load(recipe_of(xl), dtype).unet, load(recipe_of(xl, unet=str(unet_file)), dtype).unet
    assert {**other.config, "_name_or_path": ""} == {**own.config, "_name_or_path": ""}
    assert {tensor.dtype for tensor in other.state_dict().values()} == {dtype}
    assert not any(tensor.requires_grad or tensor.is_meta for tensor in other.parameters())
    torch.testing.assert_close(other.conv_in.weight, -own.conv_in.weight, atol=1e-2, rtol=1e-2)


@pytest.mark.slow
def test_a_unet_may_be_a_folder_of_another_model(xl: Path, own_xl: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_xl / "unet")
    tiny.make_unet(**tiny.XL, time_cond_proj_dim=16).save_pretrained(tmp_path / "lcm")
    parts = load(recipe_of(own_xl, unet=str(tmp_path / "lcm")))
    assert parts.unet.config.time_cond_proj_dim == 16
    assert len(parts.text_encoders) == 2


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lose_one, reshape_one])
def test_a_damaged_unet_file_is_one_line(damage: Callable[[Path], None], xl: Path, unet_file: Path) -> None:
    damage(unet_file)
    assert f"unet at {unet_file} cannot be loaded" in refused(recipe_of(xl, unet=str(unet_file)))


def test_a_unet_file_needs_the_models_config(own_xl: Path, unet_file: Path) -> None:
    shutil.rmtree(own_xl / "unet")
    assert f"{own_xl}/unet/config.json" in refused(recipe_of(own_xl, unet=str(unet_file)))


@pytest.mark.slow
def test_controlnets_come_by_their_names(xl: Path, tmp_path: Path) -> None:
    folders = [tiny.write_controlnet(tmp_path / name, xl, seed) for seed, name in enumerate(("edges", "far"))]
    controls = tuple(ControlNet(folder.name, str(folder)) for folder in folders)
    parts = load(recipe_of(xl, controlnets=controls), torch.bfloat16)
    assert list(parts.controlnets) == ["edges", "far"]
    assert {network.dtype for network in parts.controlnets.values()} == {torch.bfloat16}
    shutil.rmtree(tmp_path / "far")
    missing = (*controls, ControlNet("depth", str(xl / "unet"), detector=str(tmp_path / "dpt")))
    line = refused(recipe_of(xl, controlnets=missing))
    assert f"{tmp_path}/far does not exist" in line
    assert f"{tmp_path}/dpt does not exist" in line
    assert "controlnet depth at" in refused(recipe_of(xl, controlnets=(ControlNet("depth", str(xl / "unet")),)))


@pytest.mark.slow
def test_an_image_prompt_loads_its_encoder(xl: Path, tmp_path: Path) -> None:
    file = tiny.write_ip_adapter(tmp_path / "ip.safetensors", xl)
    encoder = tiny.write_image_encoder(tmp_path / "encoder")
    recipe = recipe_of(xl, image_prompt=ImagePrompt(str(file), str(encoder)))
    parts, weights = load(recipe), locate(recipe)
    assert [type(one).__name__ for one in parts.image_encoders] == ["CLIPVisionModelWithProjection"]
    assert (weights.adapters, weights.encoders) == ((file,), (encoder,))
    shutil.rmtree(encoder)
    assert f"{encoder} does not exist" in refused(recipe)


def test_a_place_inside_a_hub_repository(checkpoint: Checkpoint, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--some--models" / "snapshots" / ("1" * 40)
    (tmp_path / "models--some--models" / "refs").mkdir(parents=True)
    (tmp_path / "models--some--models" / "refs" / "v2").write_text("1" * 40)
    shutil.copytree(checkpoint("epsilon"), snapshot / "deep" / "model")
    save_file({"x.lora_down.weight": torch.zeros(1, 1)}, snapshot / "lora.safetensors")
    recipe = Recipe("own", model="some/models/deep/model", loras=(Lora("some/models/lora.safetensors"),),
                    files=(Files("some/models", ("*",), "v2"),))
    assert locate(recipe).model == snapshot / "deep" / "model"
    assert locate(recipe).loras == (snapshot / "lora.safetensors",)
    line = refused(dataclasses.replace(recipe, files=()))  # that revision is the only one there
    assert "some/models/deep/model, some/models/lora.safetensors; fetch them with: hf download some/models" in line


def test_the_recipes_schedule_overrides_the_models(checkpoint: Checkpoint) -> None:
    parts = load(recipe_of(checkpoint("epsilon"), schedule={"prediction_type": "sample"}))
    assert parts.schedule["prediction_type"] == "sample"
    assert parts.schedule["beta_end"] == 0.012
