"""Every kind of LoRA, held to what lycoris-lora and peft make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import inference_mode
from tests.rigs import lycoris_values
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from safetensors.torch import save_file
    from torch import Tensor, nn

    from lcm_daemon.pipelines.accelerators.low_rank import live_form
    from lcm_daemon.pipelines.lora_file import LoraContent, read_lora
    from lcm_daemon.pipelines.loras import LiveLoras, merge

KINDS = lycoris_values.KINDS
PRODUCTS = {"locon", "locon mid", "loha", "loha mid", "lokr", "lokr both"}  # kinds of low rank in each of the layers


def outputs(layers: nn.Module) -> dict[str, Tensor]:
    return {name: getattr(layers, name)(x) for name, x in lycoris_values.make_inputs().items()}


def written(tensors: Mapping[str, Tensor], folder: Path) -> Path:
    file = folder / "lora.safetensors"
    save_file(dict(tensors), file)
    return file


def live(content: LoraContent, layers: nn.Module) -> LiveLoras:
    return LiveLoras(layers, [], {"style": content.factors}, {"style": content.full})


@inference_mode
def assert_outputs(layers: nn.Module, expected: Mapping[str, Tensor]) -> None:
    found = outputs(layers)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_equals_lycoris_merged_and_live(kind: str, channels_last: bool, tmp_path: Path) -> None:
    tensors, expected = lycoris_values.read(kind)
    layout: Any = torch.channels_last if channels_last else torch.contiguous_format
    merged, moved = (lycoris_values.make_layers().to(memory_format=layout) for _ in range(2))
    file = written(tensors, tmp_path)
    content = read_lora(file, merged, [])
    assert content.skipped == ""
    whole = any(name == "weight" and layer is not merged.norm for layer, name in content.full)
    assert whole is (kind not in PRODUCTS)
    merge(content, 1.0)
    assert_outputs(merged, expected)

    before = {name: tensor.clone() for name, tensor in moved.state_dict().items()}
    loras = live(read_lora(file, moved, []), moved)
    for weight in (1.0, -0.6, 1.0):
        loras.set_weights({"style": weight})
    assert_outputs(moved, expected)
    loras.set_weights({"style": 0.0})
    assert all(torch.equal(before[name], tensor) for name, tensor in moved.state_dict().items())


@pytest.mark.parametrize("kind", ["loha", "dora", "full"])
def test_half_the_weight_is_half_the_change(kind: str, tmp_path: Path) -> None:
    layers, original = lycoris_values.make_layers(), lycoris_values.make_layers().state_dict()
    loras = live(read_lora(written(lycoris_values.read(kind)[0], tmp_path), layers, []), layers)
    loras.set_weights({"style": 1.0})
    whole = {name: tensor - original[name] for name, tensor in layers.state_dict().items()}
    loras.set_weights({"style": 0.5})
    for name, tensor in layers.state_dict().items():
        torch.testing.assert_close(tensor, original[name] + 0.5 * whole[name])


def test_products_and_full_changes_of_one_layer_add_up(tmp_path: Path) -> None:
    """Whichever of them moves, the layer is written from its original."""
    layers, contents, expected = lycoris_values.make_layers(), {}, {}
    original = layers.linear.weight.clone()
    for kind in ("locon", "dora", "full"):
        content = contents[kind] = read_lora(written(lycoris_values.read(kind)[0], tmp_path), layers, [])
        one = lycoris_values.make_layers()
        merge(read_lora(tmp_path / "lora.safetensors", one, []), 1.0)
        expected[kind] = one.linear.weight - original
        assert bool(content.full) is True
    loras = LiveLoras(layers, [], {kind: content.factors for kind, content in contents.items()},
                      {kind: content.full for kind, content in contents.items()})
    weights: dict[str, float] = dict.fromkeys(contents, 0.0)
    for change in ({"locon": 1.0}, {"dora": 0.5}, {"full": -1.0}, {"locon": 0.0}, {"dora": 0.0}, {"locon": 0.3}):
        weights |= change
        loras.set_weights(change)
        torch.testing.assert_close(layers.linear.weight, original + sum(
            weight * expected[kind] for kind, weight in weights.items()))
    assert loras.moves(layers)
    assert loras.low_rank(layers) == {}, "a compiler cannot have norms and biases as inputs"


@inference_mode
def test_compilers_get_full_changes_as_inputs(tmp_path: Path) -> None:
    """The form of each layer computes what its weight does, at every setting of the faders."""
    layers, contents = lycoris_values.make_layers().to(memory_format=torch.channels_last), {}
    for kind in ("locon", "dora", "loha of high rank"):
        tensors = {name: tensor for name, tensor in lycoris_values.read(kind)[0].items() if "norm" not in name}
        contents[kind] = read_lora(written(tensors, tmp_path), layers, [])
    loras = LiveLoras(layers, [], {kind: content.factors for kind, content in contents.items()},
                      {kind: content.full for kind, content in contents.items()})
    chosen = nn.Sequential(layers.point, nn.Conv2d(32, 16, 1), layers.conv)
    image = lycoris_values.make_inputs()["conv"]
    form = live_form(chosen, loras.low_rank(chosen), lambda: loras.weights)
    assert form is not None
    traced = torch.jit.trace(form.make(), (form.scales() + 0.5, image))
    for weights in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.5), (0.3, 1.0, 0.0), (0.0, 0.7, -1.0)):
        loras.set_weights(dict(zip(contents, weights, strict=True)))
        for each in (form.make(), traced):
            torch.testing.assert_close(each(form.scales(), image), chosen(image), rtol=1e-4, atol=1e-4)


def test_missing_alphas_and_other_dtypes(tmp_path: Path) -> None:
    """Without an alpha the scale is 1; an alpha may be of any type and shape."""
    tensors, _ = lycoris_values.read("loha")
    plain = {name: tensor for name, tensor in tensors.items() if not name.endswith("alpha")}
    two = plain | {f"{name}.alpha": alpha for name, alpha in (
        ("lora_unet_linear", torch.tensor([2], dtype=torch.int64)),
        ("lora_unet_conv", torch.tensor(2.0, dtype=torch.bfloat16)), ("lora_unet_point", torch.tensor([[2.0]])))}
    found = []
    for own in (plain, two, {name: tensor.bfloat16() for name, tensor in plain.items()}):
        layers = lycoris_values.make_layers()
        merge(read_lora(written(own, tmp_path), layers, []), 1.0)
        found.append(layers.conv.weight)
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("names", "words"), [
    (("lora_unet_linear.oft_blocks", "lora_unet_conv.oft_blocks"), "LoRAs of the kind OFT are not supported"),
    (("unet.linear.oft_R.default.weight",), "LoRAs of the kind OFT are not supported"),
    (("lora_unet_linear.a1.weight", "lora_unet_linear.a2.weight"), "LoRAs of the kind GLoRA are not supported"),
    (("linear.weight", "conv.weight"), "it has only weight"),
    (("one.two", "three"), "is not of a known kind of LoRA"),
    (("lora_unet_linear.hada_w1_a",), "it lacks hada_w1_b"),
    (("lora_unet_norm.lora_up.weight", "lora_unet_norm.lora_down.weight"), "a norm does not take this kind of change"),
])
def test_what_is_no_supported_lora_is_refused(names: tuple[str, ...], words: str, tmp_path: Path) -> None:
    file = written({name: torch.ones(2, 2) for name in names}, tmp_path)
    with pytest.raises(ValueError, match=words):
        read_lora(file, lycoris_values.make_layers(), [])


@pytest.mark.parametrize("extra", [
    {"lora_unet_unknown.lora_up.weight": (4, 2), "lora_unet_unknown.lora_down.weight": (2, 4)},
    {"lora_unet_unknown.oft_blocks": (2, 2)},
])
def test_one_unknown_layer_is_skipped_with_a_line(extra: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    tensors, expected = lycoris_values.read("lokr")
    layers = lycoris_values.make_layers()
    tensors |= {name: torch.ones(shape) for name, shape in extra.items()}
    content = read_lora(written(tensors, tmp_path), layers, [])
    assert content.skipped.startswith("1 of its 5 layers is skipped: ")
    merge(content, 1.0)
    assert_outputs(layers, expected)


def test_a_layer_of_another_size_is_skipped(tmp_path: Path) -> None:
    tensors, _ = lycoris_values.read("locon")
    layers = lycoris_values.make_layers()
    tensors |= {"lora_unet_conv.lora_up.weight": torch.ones(5, 4, 1, 1)}
    content = read_lora(written(tensors, tmp_path), layers, [])
    assert content.skipped == "1 of its 4 layers is skipped: layer unet.conv: it has another size"
    assert layers.conv not in content.factors
