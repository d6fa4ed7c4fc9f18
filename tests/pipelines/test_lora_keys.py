"""The names of tensors in LoRA files, in the styles of the tools that write them."""

from __future__ import annotations

import pytest

from lcm_daemon.pipelines.lora_keys import parse

UNET, FIRST, SECOND = ("unet",), ("text_encoder",), ("text_encoder_2",)
ANY = ("unet", "text_encoder")
Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
FLAT = Q.replace(".", "_")
TEXT = "text_model.encoder.layers.0.mlp.fc1"


@pytest.mark.parametrize(("name", "targets", "path", "part"), [
    # kohya's scripts, OneTrainer, lycoris-lora in them
    (f"lora_unet_{FLAT}.lora_down.weight", UNET, FLAT, "down"),
    (f"lora_unet_{FLAT}.lora_mid.weight", UNET, FLAT, "mid"),
    (f"lora_unet_{FLAT}.alpha", UNET, FLAT, "alpha"),
    (f"lora_unet_{FLAT}.dora_scale", UNET, FLAT, "dora_scale"),
    (f"lora_unet_{FLAT}.hada_w1_a", UNET, FLAT, "hada_w1_a"),
    (f"lora_unet_{FLAT}.lokr_w2", UNET, FLAT, "lokr_w2"),
    (f"lora_unet_{FLAT}.lokr_w2_b", UNET, FLAT, "lokr_w2_b"),
    (f"lora_unet_{FLAT}.diff_b", UNET, FLAT, "diff_b"),
    ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", FIRST, TEXT.replace(".", "_"), "up"),
    ("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", FIRST, TEXT.replace(".", "_"), "up"),
    ("lora_te2_text_projection.lora_up.weight", SECOND, "text_projection", "up"),
    # diffusers, of now and of the time of attention processors
    (f"unet.{Q}.lora_A.weight", UNET, Q, "down"),
    (f"unet.{Q}.lora.up.weight", UNET, Q, "up"),
    (f"unet.{Q.replace('.to_q', '.processor.to_q')}_lora.up.weight", UNET, Q.replace(".to_q", ".processor.to_q"), "up"),
    (f"text_encoder.{TEXT}.lora_linear_layer.down.weight", FIRST, TEXT, "down"),
    (f"unet.{Q}.lora_magnitude_vector", UNET, Q, "magnitude"),
    (f"{Q}.lora_B.weight", ANY, Q, "up"),
    # peft, whose adapters have names
    (f"base_model.model.{Q}.lora_A.weight", ANY, Q, "down"),
    (f"base_model.model.unet.{Q}.lora_A.default.weight", UNET, Q, "down"),
    (f"base_model.model.{Q}.lora_B.my-style.weight", ANY, Q, "up"),
    (f"unet.{Q}.lora_magnitude_vector.default.weight", UNET, Q, "magnitude"),
    (f"base_model.model.{Q}.hada_w1_a.default", ANY, Q, "hada_w1_a"),
    # ComfyUI and other tools, and lycoris-lora's wrapper
    ("diffusion_model.input_blocks.4.1.proj_in.lora_up.weight", UNET, "input_blocks.4.1.proj_in", "up"),
    ("diffusion_model.input_blocks.0.0.diff", UNET, "input_blocks.0.0", "diff"),
    (f"text_encoders.clip_l.transformer.{TEXT}.lora_A.weight", FIRST, TEXT, "down"),
    (f"text_encoders.clip_g.transformer.{TEXT}.lora_A.weight", ("text_encoder_2", "text_encoder"), TEXT, "down"),
    (f"lycoris_{FLAT}.lokr_w1", ANY, FLAT, "lokr_w1"),
])
def test_a_name_says_model_layer_and_part(name: str, targets: tuple[str, ...], path: str, part: str) -> None:
    assert parse(name) == (targets, path, part)


@pytest.mark.parametrize("name", ["", "alpha", "lora_unet_x.lora_up", "lora_unet_x.lora_up.bias", "unet.x.oft_R.w"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"not supported|not of a known kind"):
        parse(name)
