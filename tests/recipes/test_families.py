"""What a weight file is, by its keys and shapes: those of real files, in each layout."""

from __future__ import annotations

import pytest

from lcm_daemon.recipes.families import SD1, SD2, SDXL, family_of_config, family_of_context, identify
from lcm_daemon.recipes.safetensors_header import TensorInfo

Shapes = dict[str, tuple[int, ...]]
_ATTN2 = "transformer_blocks.0.attn2.to_k"
_FLAT = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def _checkpoint(context: int, inputs: int = 4, text: str = "cond_stage_model.transformer.text_model.x") -> Shapes:
    return {"model.diffusion_model.input_blocks.0.0.weight": (320, inputs, 3, 3), text: (1,),
            f"model.diffusion_model.input_blocks.4.1.{_ATTN2}.weight": (640, context),
            "first_stage_model.encoder.down.0.block.0.conv1.weight": (128, 128, 3, 3)}


KNOWN: dict[str, tuple[Shapes, str]] = {
    "SD1.5": (_checkpoint(768), "a whole model in one file for SD 1.x (context 768)"),
    "SD2.1": (_checkpoint(1024), "a whole model in one file for SD 2.x (context 1024)"),
    "SDXL": (_checkpoint(2048, text="conditioner.embedders.0.x"), "a whole model in one file for SDXL (context 2048)"),
    "kohya": ({f"{_FLAT}.lora_down.weight": (8, 2048), f"{_FLAT}.alpha": ()}, "a LoRA for SDXL (context 2048)"),
    "peft": ({f"base_model.model.unet.x.{_ATTN2}.lora_A.weight": (8, 768)}, "a LoRA for SD 1.x (context 768)"),
    "processors": ({"x.attn2.processor.to_k_lora.down.weight": (4, 1024)}, "a LoRA for SD 2.x (context 1024)"),
    "LoHa": ({f"{_FLAT}.hada_w1_a": (320, 8), f"{_FLAT}.hada_w1_b": (8, 768)}, "a LoRA for SD 1.x (context 768)"),
    "LoKr": ({f"{_FLAT}.lokr_w1": (8, 16), f"{_FLAT}.lokr_w2_a": (40, 4), f"{_FLAT}.lokr_w2_b": (4, 128)},
             "a LoRA for SDXL (context 2048)"),
    "LoRA of SD2's text": ({"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 1024)},
                           "a LoRA for SD 2.x (context 1024)"),
    "LoRA of SDXL's text": ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 1280)},
                            "a LoRA for SDXL (context 2048)"),
    "ControlNet": ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), f"d.{_ATTN2}.weight": (640, 2048)},
                   "a ControlNet for SDXL (context 2048)"),
    "original ControlNet": ({"control_model.input_hint_block.0.weight": (16, 3, 3, 3),
                             f"control_model.input_blocks.1.1.{_ATTN2}.weight": (320, 768)},
                            "a ControlNet for SD 1.x (context 768)"),
    "UNet": ({"conv_in.weight": (320, 4, 3, 3), f"down_blocks.0.attentions.0.{_ATTN2}.weight": (320, 768)},
             "a UNet for SD 1.x (context 768)"),
    "original UNet": ({f"input_blocks.1.1.{_ATTN2}.weight": (320, 2048)}, "a UNet for SDXL (context 2048)"),
    "IP-Adapter": ({"image_proj.proj.weight": (8192, 1280), "ip_adapter.1.to_k_ip.weight": (640, 2048)},
                   "an IP-Adapter for SDXL (context 2048)"),
    "VAE": ({"encoder.down_blocks.0.resnets.0.conv1.weight": (128, 128, 3, 3)}, "a VAE"),
    "original VAE": ({"decoder.up.0.block.0.conv1.weight": (128, 128, 3, 3)}, "a VAE"),
    "TAESD": ({"encoder.layers.0.weight": (64, 3, 3, 3)}, "a VAE"),
    "CLIP": ({"encoder.layers.0.self_attn.q_proj.weight": (768, 768)}, "a text encoder"),
    "embedding": ({"emb_params": (8, 768)}, "an embedding (textual inversion) for SD 1.x (context 768)"),
    "embedding of SDXL": ({"clip_g": (8, 1280), "clip_l": (8, 768)},
                          "an embedding (textual inversion) for SDXL (context 2048)"),
    "FLUX": ({"double_blocks.0.img_attn.norm.key_norm.scale": (128,)}, "a transformer for FLUX.1"),
    "Stable Video Diffusion": (_checkpoint(1024) | {"model.diffusion_model.input_blocks.1.1.time_stack.0.norm": (1,)},
                               "a whole model in one file for Stable Video Diffusion or AnimateDiff"),
    "LoRA of SD3": ({"transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight": (4, 4)},
                    "a LoRA for a transformer"),
    "LoRA of Wan": ({"diffusion_model.blocks.0.cross_attn.k.lora_B.weight": (4, 4)}, "a LoRA for a transformer"),
    "unknown": ({"weight": (3, 3)}, "a file of unknown keys"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_it_is(name: str) -> None:
    shapes, text = KNOWN[name]
    kind = identify({key: TensorInfo("F16", shape) for key, shape in shapes.items()})
    assert str(kind) == text
    assert kind.original == (name.startswith("original") or name in ("SD1.5", "SD2.1", "SDXL",
                                                                             "Stable Video Diffusion"))


def test_what_the_first_layer_takes() -> None:
    for inputs in (4, 8, 9):
        kind = identify({key: TensorInfo("F16", shape) for key, shape in _checkpoint(768, inputs).items()})
        assert kind.inputs == inputs


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("shape", [(), (0,), (1, 1, 1, 1, 1)])
def test_impossible_shapes_are_no_error(name: str, shape: tuple[int, ...]) -> None:
    identify({key: TensorInfo("F16", shape) for key in KNOWN[name][0]})


def test_families_by_width() -> None:
    assert [family_of_context(width) for width in (768, 1024, 2048)] == [SD1, SD2, SDXL]
    assert str(family_of_context(64)) == "an unknown family (context 64)"
    assert family_of_config({"cross_attention_dim": 2048}) is SDXL
    assert family_of_config({"cross_attention_dim": [768, 768]}) is SD1
    assert family_of_config({"sample_size": 64}) is None
