"""Weights that are not numbers, quantised or empty are refused as they are read."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from lcm_daemon.recipes.safetensors_header import TensorInfo
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from safetensors.torch import load_file, save_file
    from torch import nn

    from lcm_daemon.pipelines.learned_words import read_vectors
    from lcm_daemon.pipelines.lora_file import read_lora
    from lcm_daemon.pipelines.lora_settings import AdapterSettings
    from lcm_daemon.pipelines.one_file import _refuse_unknown
    from lcm_daemon.pipelines.weight_values import check_numbers, refuse_integers

NO_NUMBERS = r"values that are not numbers \(NaN or infinite\)"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_with_values_that_are_not_numbers(value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert check_numbers(model) is model
    with torch.no_grad():
        model[1].weight[1, 0] = value
    with pytest.raises(ValueError, match=rf"it has {NO_NUMBERS} in 1\.weight$"):
        check_numbers(model)


def test_sums_of_large_half_precision_weights_are_numbers() -> None:
    check_numbers(nn.Linear(64, 64).half().requires_grad_(False).apply(lambda layer: layer.weight.fill_(60_000)))


def test_quantised_weights() -> None:
    header = {"ids": TensorInfo("I64", (1, 77)), "unet.a.weight": TensorInfo("F8_E4M3", (2, 2)),
              "te.b.weight": TensorInfo("U8", (2, 2))}
    refuse_integers(header, ("unet.",))
    with pytest.raises(ValueError, match=r"it is quantised, which is not supported: te\.b\.weight is of the type U8"):
        refuse_integers(header)


def test_weights_that_a_conversion_leaves_out() -> None:
    one, other = torch.zeros(1), torch.ones(1)
    _refuse_unknown({"a": one, "b": other}, {"x": other, "y": one})
    with pytest.raises(ValueError, match=r"it has weights of another kind of model: a$"):
        _refuse_unknown({"a": one, "b": other}, {"y": other})


def test_a_model_plays_on_when_its_file_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(512, 512), "bias": torch.zeros(512)}, file)
    layer = nn.Linear(512, 512)
    layer.load_state_dict(load_file(file), assign=True)
    mapped = [tensor.data_ptr() for tensor in layer.parameters()]
    check_numbers(layer)
    assert not set(mapped) & {tensor.data_ptr() for tensor in layer.parameters()}, "reading it would end this process"
    os.truncate(file, 100)
    assert float(layer(torch.ones(512)).detach()[0]) == 512


@pytest.mark.parametrize(("rank", "value", "words"), [
    (2, math.nan, NO_NUMBERS), (2, math.inf, NO_NUMBERS), (0, 0.0, "one of its matrices is empty")])
def test_a_layer_of_a_lora(rank: int, value: float, words: str, tmp_path: Path) -> None:
    """The other layer is used, and a file of nothing else is refused."""
    unet, file = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)}), tmp_path / "lora.safetensors"
    bad = {"lora_unet_one.lora_down.weight": torch.ones(rank, 4),
           "lora_unet_one.lora_up.weight": torch.full((4, rank), value)}
    good = {"lora_unet_two.lora_down.weight": torch.ones(2, 4), "lora_unet_two.lora_up.weight": torch.ones(4, 2)}
    save_file(bad | good, file)
    content = read_lora(file, unet, [])
    assert list(content.factors) == [unet["two"]]
    assert content.skipped.startswith("1 of its 2 layers is skipped: layer unet.one: ")
    save_file(bad, file)
    with pytest.raises(ValueError, match=words):
        read_lora(file, unet, [])


@pytest.mark.parametrize("alpha", [math.nan, math.inf])
def test_settings_without_a_scale(alpha: float) -> None:
    with pytest.raises(ValueError, match="its settings are damaged: the scale is "):
        AdapterSettings({"r": 4, "lora_alpha": alpha}).scale("unet", "x", 4)


def test_an_embedding(tmp_path: Path) -> None:
    save_file({"emb_params": torch.full((2, 768), math.nan)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=NO_NUMBERS):
        read_vectors(tmp_path / "a.safetensors")
