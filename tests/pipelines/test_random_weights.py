"""The real shapes, held to the published numbers of parameters; random weights that a picture comes through."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.parts import ControlNet, ImagePrompt
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import STABLE_DIFFUSION
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines import random_weights
    from lcm_daemon.pipelines.random_weights import ARCHITECTURES, Architecture, random_components

TINY_XL = Architecture(
    {"sample_size": 8, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "norm_num_groups": 8,
     "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "block_out_channels": (32, 64), "layers_per_block": 1,
     "cross_attention_dim": 48, "attention_head_dim": 8, "addition_embed_type": "text_time",
     "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 16},
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
     "projection_dim": 16}, schedule={"prediction_type": "epsilon", "timestep_spacing": "trailing"}, scaling=0.13025)

# Published: by the models' cards and papers, or by the size of their files (two bytes a parameter in half precision).
UNETS = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": 859_520_964, "SimianLuo/LCM_Dreamshaper_v7": 859_602_884,
    "stabilityai/sd-turbo": 865_910_724, "stabilityai/stable-diffusion-xl-base-1.0": 2_567_463_684,
    "stabilityai/sdxl-turbo": 2_567_463_684, "segmind/SSD-1B": 1_331_334_404, "segmind/Segmind-Vega": 745_225_604,
    "Lykon/dreamshaper-8": 859_520_964, "Lykon/dreamshaper-xl-v2-turbo": 2_567_463_684,
}
TEXT = {"stable-diffusion-v1-5/stable-diffusion-v1-5": (123_060_480,), "stabilityai/sd-turbo": (340_387_840,),
        "stabilityai/sdxl-turbo": (123_060_480, 694_659_840)}
CONTROLNETS = {
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "lllyasviel/control_v11p_sd15_canny"): 361_279_120,
    ("stabilityai/sd-turbo", "thibaud/controlnet-sd21-canny-diffusers"): 364_228_240,
    ("stabilityai/stable-diffusion-xl-base-1.0", "xinsir/controlnet-openpose-sdxl-1.0"): 1_251_014_160,
    ("stabilityai/stable-diffusion-xl-base-1.0", "diffusers/controlnet-canny-sdxl-1.0-small"): 160_111_120,
    # T2I-Adapters and ControlNet-Unions, by the sizes of their files: 158 MB, 154 MB and 2.51 GB.
    ("stabilityai/stable-diffusion-xl-base-1.0", "TencentARC/t2i-adapter-canny-sdxl-1.0"): 79_028_160,
    ("stable-diffusion-v1-5/stable-diffusion-v1-5",
     "webui/ControlNet-modules-safetensors/t2iadapter_canny-fp16.safetensors"): 77_000_640,
    ("stabilityai/stable-diffusion-xl-base-1.0", "xinsir/controlnet-union-sdxl-1.0"): 1_255_958_800,
}


class Words:
    """The ids that a text model's configuration asks of its tokenizer."""

    bos_token_id, eos_token_id, pad_token_id = 49406, 49407, 49407


def count(model: Any) -> int:
    assert all(parameter.is_meta for parameter in model.parameters())
    return sum(parameter.numel() for parameter in model.parameters())


def test_every_architecture_has_its_published_number() -> None:
    assert set(UNETS) == set(ARCHITECTURES)


@pytest.mark.slow
@pytest.mark.parametrize("model", UNETS)
def test_unets(model: str) -> None:
    assert count(random_weights.make_unet(ARCHITECTURES[model])) == UNETS[model]


@pytest.mark.parametrize("model", TEXT)
def test_text_encoders(model: str) -> None:
    found = [random_weights.make_text_encoder(ARCHITECTURES[model], number, Words)
             for number in range(len(TEXT[model]))]
    assert tuple(map(count, found)) == TEXT[model]


@pytest.mark.parametrize("pair", CONTROLNETS, ids=lambda pair: pair[1])
def test_controlnets(pair: tuple[str, str]) -> None:
    model, control = pair
    assert count(random_weights.make_controlnet(ARCHITECTURES[model], control)) == CONTROLNETS[pair]


@pytest.mark.parametrize(("vae", "number"), [("madebyollin/taesdxl", 2_445_063), ("", 83_653_863)])
def test_vaes(vae: str, number: int) -> None:
    architecture = ARCHITECTURES["stabilityai/sdxl-turbo"]
    assert count(random_weights.make_vae(Recipe("own", vae=vae), architecture)) == number


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).family == STABLE_DIFFUSION])
def test_every_recipe_has_random_weights_or_is_refused(name: str) -> None:
    refused = name in ("builtin", "passthrough", "sdxs-512", "sd15-ip-adapter", "sdxl-ip-adapter")
    with pytest.raises(RecipeError, match="random weights are not available") if refused else nullcontext():
        random_weights._choose(load_recipe(name))


@pytest.mark.slow
def test_random_components_are_those_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_weights, "ARCHITECTURES", {"tiny/xl": TINY_XL})
    recipe = Recipe("tiny", model="tiny/xl", vae="madebyollin/taesdxl", schedule={"gamma": 1.0},
                    controlnets=(ControlNet("canny", "tiny/control"),))
    parts = random_components(recipe, torch.device("cpu"), torch.bfloat16, lambda line: None)
    assert parts.force_zeros
    assert parts.schedule["gamma"] == 1.0
    assert list(parts.controlnets) == ["canny"]
    for model in (parts.unet, parts.vae, *(encoder.model for encoder in parts.text_encoders)):
        assert model.dtype == torch.bfloat16
        assert not model.training
        for parameter in model.parameters():
            assert not parameter.requires_grad
            assert bool(parameter.isfinite().all())
    for encoder in parts.text_encoders:
        assert encoder.tokenizer.model_max_length == 77
        tokens = encoder.tokenizer("a wave", padding="max_length", return_tensors="pt").input_ids
        states = encoder.model(tokens)[0]
        assert bool(states.isfinite().all())
        assert float(states.float().std()) > 0.01


def test_large_layers_repeat_a_pattern_and_keep_the_scale_of_activations() -> None:
    with torch.device("meta"):
        layer = torch.nn.Linear(2048, 1024)
    layer = random_weights.fill(layer, torch.device("cpu"), torch.float32)
    passed = layer(torch.randn(64, 2048))
    assert float(passed.std()) == pytest.approx(random_weights.GAIN, rel=0.05)
    assert float(layer.bias.abs().max()) == 0.0


def test_an_image_prompt_has_no_random_weights() -> None:
    recipe = Recipe("own", model="stabilityai/sd-turbo", image_prompt=ImagePrompt("a/b/c.safetensors", "a/b"))
    with pytest.raises(RecipeError, match="random weights are not available for image prompts"):
        random_components(recipe, torch.device("cpu"), torch.float32, lambda line: None)
