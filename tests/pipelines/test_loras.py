"""LoRAs in every key style, merged and live, held to peft's own result."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.parts import Lora
from tests.pipelines.conftest import inference_mode
from tests.rigs import tiny, tiny_loras
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import recipe_of
from tests.rigs.tiny_loras import RandomLora, make_lora, set_peft

with lazy_imports(globals()):
    import torch
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
    from safetensors.torch import load_file, save_file
    from torch import nn

    from lcm_daemon.pipelines.components import Components, load_components
    from lcm_daemon.pipelines.lora_file import read_lora
    from lcm_daemon.pipelines.lora_names import _original
    from lcm_daemon.pipelines.loras import LiveLoras, merge
    from lcm_daemon.pipelines.numbers import Numbers

Plain = Callable[[str], list[Any]]
Kohya = Callable[[str], Path]
CPU = torch.device("cpu")
WEIGHTS = (1.0, 0.3, -1.7, 0.0)


def load(folder: Path, *loras: Lora, dtype: torch.dtype = torch.float32) -> Components:
    return load_components(recipe_of(folder, loras=loras), CPU, dtype, lambda line: None)


def models_of(parts: Components) -> list[Any]:
    return [parts.unet, *(encoder.model for encoder in parts.text_encoders)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {"one": tiny.write_checkpoint(folder / "one"), "xl": tiny.write_xl(folder / "xl")}


@pytest.fixture(scope="module")
def plain(folders: dict[str, Path]) -> Callable[[str], list[Any]]:
    """The models of a family without LoRAs, a copy that may be changed."""
    loaded = {family: models_of(load(folder)) for family, folder in folders.items()}
    return lambda family: copy.deepcopy(loaded[family])


@pytest.fixture(scope="module")
def kohya(plain: Plain, folders: dict[str, Path]) -> Callable[[str], Path]:
    """A file for every layer of a family."""
    files = {family: tiny_loras.write_kohya(make_lora(plain(family)), folder.parent / f"{family}.safetensors",
                                            plain(family)) for family, folder in folders.items()}
    return lambda family: files[family]


@inference_mode
def run(models: Sequence[Any]) -> list[torch.Tensor]:
    """What each of the models makes of the same inputs."""
    unet, *encoders = models
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50, (1, 16), generator=generator)
    outputs = [encoder(tokens).last_hidden_state for encoder in encoders]
    added = {"text_embeds": torch.randn(1, 32, generator=generator), "time_ids": torch.ones(1, 6)}
    sample, states = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(
        1, 16, unet.config.cross_attention_dim, generator=generator)
    return [unet(sample, torch.tensor([400.0]), states, added_cond_kwargs=added).sample, *outputs]


def assert_equal(found: Sequence[Any], expected: Sequence[Any]) -> None:
    for ours, theirs in zip(run(found), run(expected), strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["one", "xl"])
@pytest.mark.parametrize(("write", "even"), [
    (tiny_loras.write_kohya, False), (tiny_loras.write_peft, False), (tiny_loras.write_bare, True),
    (tiny_loras.write_diffusers, True),
])
def test_a_live_lora_equals_peft(write: Callable[..., Path], even: bool, family: str, plain: Plain,
                              folders: dict[str, Path], tmp_path: Path) -> None:
    models = plain(family)
    lora = make_lora(models, even=even)
    file = write(lora, tmp_path / "lora.safetensors", plain(family))
    parts = load(folders[family], Lora(str(file), 0.5, "style"))
    lora.attach(models, "style")
    set_peft(models, {"style": 0.5})
    assert_equal(models_of(parts), models)  # where the recipe starts it
    for weight in WEIGHTS:
        assert parts.loras.set_weights({"style": weight})
        set_peft(models, {"style": weight})
        assert_equal(models_of(parts), models)


@pytest.mark.slow
def test_several_loras_move_independently(plain: Plain, folders: dict[str, Path], tmp_path: Path) -> None:
    models = plain("one")
    loras = {"first": make_lora(models, 1), "second": make_lora(models, 2).of("unet")}
    files = [tiny_loras.write_kohya(lora, tmp_path / f"{name}.safetensors", models) for name, lora in loras.items()]
    parts = load(folders["one"], *[Lora(str(file), 0.0, name) for file, name in zip(files, loras, strict=True)])
    for name, lora in loras.items():
        lora.attach(models, name)
    for first, second in ((1.0, 0.0), (1.0, 0.5), (0.2, -1.0), (0.0, 2.0)):
        parts.loras.set_weights({"first": first, "second": second, "unknown": 1.0})
        set_peft(models, {"first": first, "second": second})
        assert_equal(models_of(parts), models)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_at_zero_the_weights_are_restored_bit_by_bit(dtype: torch.dtype, folders: dict[str, Path],
                                                         kohya: Kohya) -> None:
    before = [model.state_dict() for model in models_of(load(folders["xl"], dtype=dtype))]
    parts = load(folders["xl"], Lora(str(kohya("xl")), 1.0, "style"), dtype=dtype)
    for weight in (2.0, -0.3, 1e-3, 0.7, 0.0):
        parts.loras.set_weights({"style": weight})
    for own, model in zip(before, models_of(parts), strict=True):
        assert all(same_bits(tensor, model.state_dict()[name]) for name, tensor in own.items())


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    width = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    return torch.equal(one.view(width), other.view(width)) and one.stride() == other.stride()


@pytest.mark.slow
def test_weights_move_in_place_and_only_when_a_fader_moves(folders: dict[str, Path], kohya: Kohya) -> None:
    parts = load(folders["one"], Lora(str(kohya("one")), 0.0, "style"))
    weights = [weight for model in models_of(parts) for weight in model.parameters()]
    places = [weight.data_ptr() for weight in weights]
    for moves in (True, False):
        versions = [weight._version for weight in weights]
        assert parts.loras.set_weights({"style": 0.7}) is moves
        assert [weight.data_ptr() for weight in weights] == places
        assert ([weight._version for weight in weights] != versions) is moves
    assert parts.loras.set_weights({}) is False


def test_it_reports_whether_prompts_must_be_embedded_again(plain: Plain, tmp_path: Path) -> None:
    unet, encoder = plain("one")
    lora = make_lora([unet, encoder])
    factors = {}
    for target, model in (("unet", unet), ("text_encoder", encoder)):
        file = tiny_loras.write_kohya(lora.of(target), tmp_path / f"{target}.safetensors", [unet, encoder])
        factors[target] = read_lora(file, unet, [encoder]).factors
        assert factors[target].keys() <= set(model.modules())
    loras = LiveLoras(unet, [encoder], factors)
    assert not loras.set_weights({"unet": 1.0})
    assert loras.set_weights({"text_encoder": 1.0})
    assert not loras.set_weights({"unet": 0.0, "text_encoder": 1.0})


@pytest.mark.slow
def test_a_move_is_a_work_that_reads_numbers(folders: dict[str, Path], kohya: Kohya) -> None:
    """Moves of the same kind have the same key, so that one recording of the work serves them all."""
    parts, expected = (load(folders["one"], Lora(str(kohya("one")), 0.0, "style")) for _ in range(2))
    parts.loras.use(Numbers(CPU))
    assert parts.loras.pending() is None
    keys = []
    for weight in (0.5, -0.7, 0.0):
        assert parts.loras.prepare({"style": weight}), "the text encoder changes too"
        assert parts.loras.weights.tolist() == pytest.approx([weight])
        pending = parts.loras.pending()
        assert pending is not None
        pending[1]()
        keys.append(pending[0])
        expected.loras.set_weights({"style": weight})
        for ours, theirs in zip(models_of(parts), models_of(expected), strict=True):
            assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert keys[0] == keys[1] != keys[2]
    assert parts.loras.prepare({"style": 0.0}) is False
    assert parts.loras.pending() is None


@pytest.mark.slow
def test_faders_of_the_same_layers_need_two_recordings(plain: Plain, folders: dict[str, Path], tmp_path: Path) -> None:
    """Whichever of them move, and whichever are up: the layers are written, or restored."""
    files = [tiny_loras.write_kohya(make_lora(plain("one"), seed), tmp_path / f"{seed}.safetensors", plain("one"))
             for seed in range(3)]
    loras = load(folders["one"], *(Lora(str(file), 0.0, name) for file, name in zip(files, "abc", strict=True))).loras
    keys = set()
    for weights in ({"a": 0.5}, {"b": 0.5}, {"a": 0.2, "c": 0.1}, {"a": 0.0}, {"b": 0.0, "c": 0.0}, {"a": 1.0}):
        loras.prepare(weights)
        pending = loras.pending()
        assert pending is not None
        keys.add(pending[0])
    assert len(keys) == 2


def test_a_merged_lora_equals_a_live_one(folders: dict[str, Path], kohya: Kohya) -> None:
    file = str(kohya("xl"))
    merged = load(folders["xl"], Lora(file, 0.8))
    assert merged.loras.names == ()
    assert_equal(models_of(merged), models_of(load(folders["xl"], Lora(file, 0.8, "style"))))
    half = load(folders["xl"], Lora(file, 0.4), Lora(file, 0.4, "rest"))  # live ones come over merged ones
    assert_equal(models_of(merged), models_of(half))


@pytest.mark.slow
def test_a_merged_lora_in_half_precision_is_rounded_once(plain: Plain, kohya: Kohya) -> None:
    exact, rough = plain("one"), [model.bfloat16() for model in plain("one")]
    for unet, encoder in (exact, rough):
        merge(read_lora(kohya("one"), unet, [encoder]), 1.0)
    weights = [unet.mid_block.resnets[0].conv1.weight for unet, _ in (exact, rough)]
    torch.testing.assert_close(*[weight.float() for weight in weights], atol=2e-3, rtol=2**-8)


@pytest.mark.slow
def test_keys_of_attention_processors_are_read(plain: Plain, folders: dict[str, Path], tmp_path: Path) -> None:
    models = plain("one")
    lora = make_lora(models, even=True)
    parts = load(folders["one"], Lora(str(tiny_loras.write_processors(lora, tmp_path / "lora.safetensors"))))
    kept = RandomLora({place: factor for place, factor in lora.of("unet").factors.items() if "attn" in place[1]})
    kept.attach(models, "style")
    set_peft(models, {"style": 1.0})
    assert_equal(models_of(parts), models)


FAMILIES: dict[str, dict[str, Any]] = {  # as deep as the real ones
    "1.5": {"block_out_channels": (16, 16, 16, 16), "layers_per_block": 2, "norm_num_groups": 4,
            "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
            "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3)},
    "xl": {**tiny.XL, "block_out_channels": (16, 16, 16), "layers_per_block": 2, "norm_num_groups": 4,
           "attention_head_dim": 4, "transformer_layers_per_block": (1, 2, 3),
           "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
           "up_block_types": (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D")},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_original_block_numbers_match_original_checkpoints(family: str) -> None:
    """diffusers' own conversion of original checkpoints, run backwards: every layer comes back to its place."""
    unet = tiny.make_unet(**FAMILIES[family])
    layers = {f"{path}.{end}": tensor for path, layer in unet.named_modules()
              if isinstance(layer, nn.Linear | nn.Conv2d | nn.GroupNorm | nn.LayerNorm)
              for end, tensor in layer.named_parameters()}
    names = {key: f"{_original(key.rpartition('.')[0], unet)}.{key.rpartition('.')[2]}" for key in layers}
    assert len(set(names.values())) == len(layers)
    checkpoint = {f"model.diffusion_model.{names[key]}": tensor for key, tensor in layers.items()}
    converted = convert_ldm_unet_checkpoint(checkpoint, dict(unet.config))
    assert all(converted[key] is tensor for key, tensor in layers.items())


@pytest.mark.slow
def test_kohya_files_with_original_block_numbers_are_read(plain: Plain, kohya: Kohya, tmp_path: Path) -> None:
    unet, *encoders = plain("xl")
    file = tiny_loras.write_kohya(make_lora([unet, *encoders]), tmp_path / "lora.safetensors", [unet, *encoders],
                                  rename=lambda path: _original(path, unet))
    assert any(key.startswith("lora_unet_input_blocks_") for key in load_file(file))
    numbered, named = (read_lora(each, unet, encoders).factors for each in (file, kohya("xl")))
    assert numbered.keys() == named.keys()
    assert all(torch.equal(numbered[layer].up, factor.up) and torch.equal(numbered[layer].down, factor.down)
               for layer, factor in named.items())


def refused(folder: Path, file: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        load(folder, Lora(str(file)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("recipe tiny: lora ")
    assert str(file) in str(caught.value)
    return str(caught.value)


def change(file: Path, key: str, tensor: torch.Tensor | None) -> None:
    tensors = load_file(file) | ({key: tensor} if tensor is not None else {})
    save_file({name: each for name, each in tensors.items() if tensor is not None or name != key}, file)


LAYER = "lora_unet_mid_block_resnets_0_conv1"


@pytest.mark.slow
@pytest.mark.parametrize(("key", "tensor", "words"), [
    (f"{LAYER}.lora_up.weight", None, "lacks one of its two matrices"),
    (f"{LAYER}.oft_blocks", torch.ones(1), "of the kind OFT are not supported"),
    ("lora_unet_mid_block_resnets_9_conv1.lora_up.weight", torch.ones(2, 2), "no layer fits the key"),
    ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", torch.ones(2, 2), "no layer fits the key"),
    (f"{LAYER}.lora_up.weight", torch.ones(5, 3, 1, 1), "has another size"),
    (f"{LAYER}.lora_down.weight", torch.ones(9, 64, 3, 3), "has another size"),
])
def test_one_layer_that_does_not_fit_is_a_line(key: str, tensor: torch.Tensor | None, words: str,
                                               folders: dict[str, Path], kohya: Kohya, tmp_path: Path,
                                               caplog: pytest.LogCaptureFixture) -> None:
    file = Path(shutil.copy(kohya("one"), tmp_path / "lora.safetensors"))
    change(file, key, tensor)
    load(folders["one"], Lora(str(file)))
    lines = [record.getMessage() for record in caplog.records if "skipped" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith(f"recipe tiny: lora at {file}: 1 of its ")
    assert words in lines[0]


def test_a_lora_of_another_family_is_one_line(folders: dict[str, Path], kohya: Kohya, tmp_path: Path) -> None:
    assert "it is for an unknown family (context 64), this model is an unknown family (32)" in refused(
        folders["one"], kohya("xl"))
    file = tmp_path / "lora.safetensors"
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    save_file({f"{name}.lora_down.weight": torch.zeros(4, 2048), f"{name}.lora_up.weight": torch.zeros(640, 4)}, file)
    assert "it is for SDXL (context 2048), this model is an unknown family (32)" in refused(folders["one"], file)


@pytest.mark.slow
def test_a_damaged_or_empty_file_is_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "lora.safetensors"
    save_file({}, file)
    assert "is empty: it has no tensors" in refused(folders["one"], file)
    file.write_bytes(b"\xff" * 64)
    refused(folders["one"], file)
    save_file({}, file, metadata={"lora_adapter_metadata": json.dumps([])[:-1]})
    refused(folders["one"], file)
