"""Models in one file, with the names of the original implementations: bit-equal to the model that was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.families import identify
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.safetensors_header import TensorInfo
from tests.rigs import original_names, tiny
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of

with lazy_imports(globals()):
    import torch
    from diffusers import AutoencoderKL, ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import CHECKPOINT_KEY_NAMES, convert_ldm_unet_checkpoint
    from safetensors.torch import load_file, save_file

    from lcm_daemon.pipelines.components import Components, load_components, read_pretrained
    from lcm_daemon.pipelines.control_files import read_control
    from lcm_daemon.pipelines.one_file import taken_by
    from lcm_daemon.pipelines.random_weights import ARCHITECTURES

CPU = "cpu"
FAMILIES: Mapping[str, Mapping[str, Any]] = {"sd1": {}, "sd2": tiny.SD2, "xl": tiny.XL}


@dataclass(frozen=True)
class Written:
    """A model as a folder and as one file; another one of the same kind, of which only the descriptions are left."""

    folder: Path
    file: Path
    base: Path
    configs: Mapping[str, Mapping[str, Any]]


def config_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return content


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    made: dict[str, Written] = {}

    def get(family: str) -> Written:
        if family not in made:
            made[family] = write(family, tmp_path_factory.mktemp(family))
        return made[family]

    return get


def write(family: str, place: Path) -> Written:
    if family == "xl":
        folder = tiny.write_xl(place / "model", vae=tiny.make_kl_vae())
    else:
        folder = tiny.write_checkpoint(place / "model", unet=FAMILIES[family], vae=tiny.make_kl_vae())
    base = Path(shutil.copytree(folder, place / "base"))
    for file in base.rglob("*.safetensors"):
        file.unlink()
    configs = {part: config_of(folder / part) for part in ("unet", "vae")}
    file = original_names.write_checkpoint(place / "merge.safetensors", folder, configs, second=family == "xl",
                                           open_text=family == "sd2")
    return Written(folder, file, base, configs)


def load(recipe: Any, dtype: Any = None) -> Components:
    return load_components(recipe, torch.device(CPU), dtype or torch.float32, lambda line: None)


def modules(parts: Components) -> list[torch.nn.Module]:
    return [parts.unet, parts.vae, *(encoder.model for encoder in parts.text_encoders)]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_model_in_one_file_is_bit_equal(family: str, written: Callable[[str], Written]) -> None:
    model = written(family)
    recipe = recipe_of(model.base, checkpoint=str(model.file))
    for dtype in (torch.float32, torch.bfloat16):
        loaded, expected = load(recipe, dtype), load(recipe_of(model.folder), dtype)
        assert [same(*pair) for pair in zip(modules(loaded), modules(expected), strict=True)] == [True] * (
            4 if family == "xl" else 3)
        assert not any(tensor.requires_grad or tensor.is_meta for tensor in loaded.unet.parameters())


@pytest.mark.slow
def test_it_equals_what_diffusers_reads(written: Callable[[str], Written]) -> None:
    model = written("xl")
    loaded = load(recipe_of(model.base, checkpoint=str(model.file)))
    options = {"config": str(model.base), "local_files_only": True}
    assert same(loaded.unet, UNet2DConditionModel.from_single_file(str(model.file), subfolder="unet", **options))
    assert same(loaded.vae, AutoencoderKL.from_single_file(str(model.file), subfolder="vae", **options))


@pytest.mark.slow
def test_parts_in_files_of_their_own(written: Callable[[str], Written], tmp_path: Path) -> None:
    """UNet, VAE and ControlNet with original names, with and without their prefixes; each in half precision."""
    model = written("sd1")
    unet, vae, control = (tmp_path / f"{name}.safetensors" for name in ("unet", "vae", "control"))
    save_half(original_names.unet(load_file(next((model.folder / "unet").glob("*.safetensors"))),
                                  model.configs["unet"]), unet)
    save_half(original_names.vae(load_file(next((model.folder / "vae").glob("*.safetensors"))), 4), vae)
    network = tiny.write_controlnet(tmp_path / "controlnet", model.folder)
    save_half(original_names.controlnet(load_file(next(network.glob("*.safetensors"))), model.configs["unet"]), control)
    base = Path(shutil.copytree(model.base, tmp_path / "base"))
    shutil.copytree(model.folder / "text_encoder", base / "text_encoder", dirs_exist_ok=True)
    controls = (ControlNet("edges", str(control)),)
    loaded = load(recipe_of(base, unet=str(unet), vae=str(vae), controlnets=controls), torch.float16)
    expected = load(recipe_of(model.folder, controlnets=(ControlNet("edges", str(network)),)), torch.float16)
    assert same(loaded.unet, expected.unet)
    assert same(loaded.vae, expected.vae)
    assert same(loaded.controlnets["edges"], expected.controlnets["edges"])
    assert loaded.controlnets["edges"].config.cross_attention_dim == 32


@pytest.mark.slow
def test_a_control_network_in_one_file_with_diffusers_names(written: Callable[[str], Written], tmp_path: Path) -> None:
    """A small ControlNet has less attention than its UNet; a Union has more than a ControlNet."""
    unet, file = written("xl").folder / "unet", tmp_path / "control.safetensors"
    config = UNet2DConditionModel.load_config(unet)
    small = ControlNetModel(**taken_by(ControlNetModel, config) | {
        "down_block_types": ("DownBlock2D",) * 2, "transformer_layers_per_block": (1, 1)})
    union = ControlNetUnionModel(**taken_by(ControlNetUnionModel, config) | {
        "num_control_type": 6, "num_trans_channel": 32, "num_trans_head": 8, "num_proj_channel": 32})
    for network in (small, union):
        save_file(network.state_dict(), file)
        found = read_control(file, torch.float32, read_pretrained, unet / "config.json")
        assert type(found) is type(network)
        assert same(found, network)


def save_half(tensors: Mapping[str, Any], file: Path) -> None:
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, file)


@pytest.mark.slow
def test_parts_that_a_checkpoint_lacks_come_from_the_base(written: Callable[[str], Written], tmp_path: Path) -> None:
    model = written("sd1")
    bare = original_names.write_checkpoint(tmp_path / "bare.safetensors", model.folder, model.configs, parts=("vae",))
    with pytest.raises(RecipeError, match="text_encoder has no weights"):
        locate(recipe_of(model.base, checkpoint=str(bare)))
    assert same(load(recipe_of(model.folder, checkpoint=str(bare))).unet, load(recipe_of(model.folder)).unet)


@pytest.mark.slow
def test_marks_of_velocity_models_count_less_than_the_recipe(
    written: Callable[[str], Written], tmp_path: Path
) -> None:
    model, file = written("sd1"), tmp_path / "v.safetensors"
    save_file({**load_file(model.file), "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, file)
    recipe = recipe_of(model.base, checkpoint=str(file))
    schedule = load(recipe).schedule
    assert (schedule["prediction_type"], schedule["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert load(replace(recipe, schedule={"prediction_type": "sample"})).schedule["prediction_type"] == "sample"


def test_another_family_is_refused_with_both_named(written: Callable[[str], Written]) -> None:
    one, other = written("sd1"), written("xl")
    with pytest.raises(RecipeError) as caught:
        locate(recipe_of(other.base, checkpoint=str(one.file)))
    assert (f"checkpoint {one.file} is a whole model in one file for an unknown family (context 32), the base's model "
            f"{other.base} is an unknown family (context 64)") in str(caught.value)


def test_a_tensor_too_few_is_named(written: Callable[[str], Written], tmp_path: Path) -> None:
    model, file = written("sd1"), tmp_path / "less.safetensors"
    tensors = load_file(model.file)
    tensors.pop("model.diffusion_model.out.2.bias")
    save_file(tensors, file)
    with pytest.raises(RecipeError, match=f"unet at {file} cannot be loaded: weights do not fit .*: conv_out.bias"):
        load(recipe_of(model.base, checkpoint=str(file)))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "marks", "text"), [
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "v1", "SD 1.x (context 768)"),
    ("stabilityai/sd-turbo", "v2", "SD 2.x (context 1024)"),
    ("stabilityai/stable-diffusion-xl-base-1.0", "xl_base", "SDXL (context 2048)"),
])
def test_the_real_architectures(model: str, marks: str, text: str) -> None:
    """Every name and shape of the published UNets, without their weights; diffusers knows the models by such names."""
    with torch.device("meta"):
        expected = UNet2DConditionModel(**ARCHITECTURES[model].unet)
    content = dict(expected.config)
    original = {f"model.diffusion_model.{name}": tensor
                for name, tensor in original_names.unet(expected.state_dict(), content).items()}
    found = convert_ldm_unet_checkpoint(original, content)
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in expected.state_dict().items()}
    header = {name: TensorInfo("F16", tuple(tensor.shape)) for name, tensor in original.items()}
    kind = identify({**header, "first_stage_model.x": TensorInfo("F16", ())})
    assert (str(kind.family), kind.part, kind.inputs) == (text, "checkpoint", 4)
    if marks != "xl_base":  # whose mark is a name of its text encoder
        assert CHECKPOINT_KEY_NAMES[marks] in original
