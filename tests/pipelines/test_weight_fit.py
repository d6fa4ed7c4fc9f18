"""Parts for another family of models, and parts of another kind, are told apart by their headers alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt, Lora
from lcm_daemon.recipes.recipe import Recipe

Shapes = Mapping[str, tuple[int, ...]]
CONTEXTS = {"SD 1.x": 768, "SD 2.x": 1024, "SDXL": 2048}
TO_K = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"


def write(file: Path, shapes: Shapes) -> Path:
    """A .safetensors file of these tensors, all bytes, without importing torch."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 1
        for side in shape:
            size *= side
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return file


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_model(folder: Path, family: str) -> Path:
    """As much of a diffusers folder as is looked for."""
    for name in ("unet", "vae", "text_encoder", *(["text_encoder_2"] if family == "SDXL" else [])):
        write(folder / name / "model.safetensors", {"x": (1,)})
        write_json(folder / name / "config.json", {})
    write_json(folder / "unet" / "config.json", {
        "cross_attention_dim": CONTEXTS[family], "in_channels": 4,
        **({"addition_embed_type": "text_time"} if family == "SDXL" else {})})
    write_json(folder / "scheduler" / "scheduler_config.json", {})
    for name in ("tokenizer", "tokenizer_2"):
        write_json(folder / name / "vocab.json", {})
    return folder


def lora(family: str) -> Shapes:
    name = f"lora_unet_{TO_K.replace('.', '_')}"
    return {f"{name}.lora_down.weight": (4, CONTEXTS[family]), f"{name}.lora_up.weight": (8, 4)}


def controlnet(family: str) -> Shapes:
    return {f"{TO_K}.weight": (8, CONTEXTS[family]), "controlnet_cond_embedding.conv_in.weight": (1, 3, 3, 3)}


def ip_adapter(family: str) -> Shapes:
    return {"image_proj.proj.weight": (4, 4), "ip_adapter.1.to_k_ip.weight": (8, CONTEXTS[family])}


def misfits_of(folder: Path, family: str, **parts: object) -> str:
    """What is wrong with a recipe of these parts over a model of that family; "" if nothing is."""
    recipe = Recipe("tiny", model=str(write_model(folder / "model", family)), **parts)  # type: ignore[arg-type]
    try:
        locate(recipe)
    except RecipeError as error:
        return str(error).removeprefix("recipe tiny: ")
    return ""


@pytest.mark.parametrize("model", CONTEXTS)
@pytest.mark.parametrize("other", CONTEXTS)
def test_the_family_of_each_part_is_compared(model: str, other: str, tmp_path: Path) -> None:
    file = write(tmp_path / "style.safetensors", lora(other))
    network = write(tmp_path / "control" / "diffusion_pytorch_model.safetensors", controlnet(other)).parent
    adapter = write(tmp_path / "adapter.safetensors", ip_adapter(other))
    encoder = write(tmp_path / "encoder" / "model.safetensors", {"x": (1,)}).parent
    found = misfits_of(tmp_path, model, loras=(Lora(str(file), 1.0, "ink"),),
                       controlnets=(ControlNet("edges", str(network)),),
                       image_prompt=ImagePrompt(str(adapter), str(encoder)))
    reason = f"it is for {other} (context {CONTEXTS[other]}), this model is {model} ({CONTEXTS[model]})"
    assert found == ("" if model == other else "; ".join((
        f"lora ink at {file}: {reason}", f"controlnet edges at {network}: {reason}",
        f"image prompt at {adapter}: {reason}")))


def test_an_unet_of_another_family(tmp_path: Path) -> None:
    unet = write(tmp_path / "unet.safetensors", {f"{TO_K}.weight": (8, 2048)})
    assert misfits_of(tmp_path, "SD 1.x", unet=str(unet)) == (
        f"unet at {unet}: it is for SDXL (context 2048), this model is SD 1.x (768)")


@pytest.mark.parametrize(("scale", "model", "fits"), [
    (0.18215, "SD 1.x", True), (0.18215, "SD 2.x", True), (0.18215, "SDXL", False),
    (0.13025, "SDXL", True), (0.13025, "SD 1.x", False), (1.0, "SD 1.x", True), (None, "SDXL", True),
])
def test_a_vae_is_known_by_the_scale_of_its_latents(scale: float | None, model: str, fits: bool,
                                                    tmp_path: Path) -> None:
    vae = write(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", {"x": (1,)}).parent
    write_json(vae / "config.json", {"scaling_factor": scale} if scale else {})
    own = "SDXL" if scale == 0.13025 else "SD 1.x and SD 2.x"
    assert misfits_of(tmp_path, model, vae=str(vae)) == (
        "" if fits else f"vae at {vae}: it is for {own}, this model is {model}")


@pytest.mark.parametrize(("name", "model", "fits"), [
    ("taesd", "SD 1.x", True), ("taesd", "SDXL", False), ("taesdxl", "SDXL", True), ("taesdxl", "SD 2.x", False),
    ("my-vae", "SDXL", True),
])
def test_a_tiny_vae_is_known_by_its_name(name: str, model: str, fits: bool, tmp_path: Path) -> None:
    vae = write(tmp_path / name / "diffusion_pytorch_model.safetensors", {"x": (1,)}).parent
    write_json(vae / "config.json", {"scaling_factor": 1.0})
    assert bool(misfits_of(tmp_path, model, vae=str(vae))) is not fits


@pytest.mark.parametrize(("inputs", "model", "fits"), [
    (192, "SD 1.x", True), (192, "SD 2.x", True), (192, "SDXL", False), (768, "SDXL", True), (768, "SD 1.x", False)])
def test_a_t2i_adapter_is_known_by_its_first_layer(inputs: int, model: str, fits: bool, tmp_path: Path) -> None:
    shapes = {"conv_in.weight": (1, inputs, 3, 3), "body.0.block1.weight": (1, 1, 3, 3)}
    file = write(tmp_path / "t2i.safetensors", shapes)
    found = misfits_of(tmp_path, model, controlnets=(ControlNet("a", str(file)),))
    own, other = ("SD 1.x (context 768)", "SDXL (2048)") if inputs == 192 else ("SDXL (context 2048)", "SD 1.x (768)")
    assert found == ("" if fits else f"controlnet a at {file}: it is for {own}, this model is {other}")


def test_a_part_of_another_kind_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "vae.safetensors", {"encoder.down.0.block.0.conv1.weight": (1, 1, 3, 3)})
    network = write(tmp_path / "unet" / "model.safetensors", {f"{TO_K}.weight": (8, 768)}).parent
    assert misfits_of(tmp_path, "SD 1.x", loras=(Lora(str(file)),), controlnets=(ControlNet("a", str(network)),)) == (
        f"lora at {file}: it is a VAE, not a LoRA; "
        f"controlnet a at {network}: it is a UNet for SD 1.x (context 768), not a ControlNet or a T2I-Adapter")


@pytest.mark.parametrize(("part", "shapes", "reason"), [
    ("unet", {"encoder.down.0.block.0.conv1.weight": (1, 1, 3, 3)}, "it is a VAE, not a UNet"),
    ("unet", {"input_blocks.0.0.weight": (1, 9, 1, 1)},
     "it takes 9 channels, as UNets for inpainting and editing do; only those with 4 are supported"),
    ("vae", {f"lora_unet_{TO_K}.lora_down.weight": (1, 768)}, "it is a LoRA for SD 1.x (context 768), not a VAE"),
    ("vae", {"first_stage_model.decoder.conv_in.weight": (1, 16, 1, 1)},
     "its latents have 16 channels, those of SD 1.x 4"),
])
def test_a_file_that_is_no_unet_or_vae_for_the_model(part: str, shapes: Shapes, reason: str, tmp_path: Path) -> None:
    file = write(tmp_path / "part.safetensors", shapes)
    assert misfits_of(tmp_path, "SD 1.x", **{part: str(file)}) == f"{part} at {file}: {reason}"


def test_a_model_for_inpainting(tmp_path: Path) -> None:
    config = write_model(tmp_path / "model", "SD 1.x") / "unet" / "config.json"
    write_json(config, {"cross_attention_dim": 768, "in_channels": 9})
    with pytest.raises(RecipeError, match=r"unet at .*: it takes 9 channels, as UNets for inpainting"):
        locate(Recipe("tiny", model=str(tmp_path / "model")))


def test_settings_that_are_damaged_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "peft" / "adapter_model.safetensors", lora("SD 1.x"))
    for content in ("{", "[" * 100_000):
        file.with_name("adapter_config.json").write_text(content)
        found = misfits_of(tmp_path, "SD 1.x", loras=(Lora(str(file)),))
        assert found.startswith(f"lora at {file}: adapter_config.json is damaged: ")


def test_a_lora_for_a_transformer_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "flux.safetensors", {
        f"lora_unet_double_blocks_0_img_attn_qkv.lora_{part}.weight": (4, 4) for part in ("up", "down")})
    assert misfits_of(tmp_path, "SD 1.x", loras=(Lora(str(file)),)) == (
        f"lora at {file}: it is for FLUX.1, this model is SD 1.x (768)")


@pytest.mark.parametrize(("name", "kind"), [("oft_blocks", "OFT"), ("a1.weight", "GLoRA")])
def test_kinds_of_loras_that_are_not_read(name: str, kind: str, tmp_path: Path) -> None:
    file = write(tmp_path / "style.safetensors", {f"lora_unet_x{number}.{name}": (2, 2) for number in range(3)})
    assert misfits_of(tmp_path, "SD 1.x", loras=(Lora(str(file)),)) == (
        f"lora at {file}: LoRAs of the kind {kind} are not supported (key 'lora_unet_x0.{name}')")


def test_the_settings_of_an_adapter_of_another_kind(tmp_path: Path) -> None:
    file = write(tmp_path / "peft" / "adapter_model.safetensors", lora("SD 1.x"))
    write_json(file.with_name("adapter_config.json"), {"peft_type": "BOFT"})
    assert misfits_of(tmp_path, "SD 1.x", loras=(Lora(str(file)),)) == (
        f"lora at {file}: it is an adapter of the kind BOFT; supported are LORA, LOHA, LOKR")
