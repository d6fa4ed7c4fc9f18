"""Int8: what is rounded, by how much, and that neighbouring products cannot overflow."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.accelerators.base import Features
from lcm_daemon.recipes.reader import FOLDER as RECIPES
from tests.conftest import need
from tests.pipelines.conftest import inference_mode
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import nn
    from torch.nn import functional

    from lcm_daemon.pipelines.accelerators.cache import CompileCache
    from lcm_daemon.pipelines.accelerators.int8 import Int8, quantise, read_int8, weight_steps
    from lcm_daemon.pipelines.accelerators.low_rank import live_form
    from lcm_daemon.pipelines.accelerators.openvino import OpenVino
    from lcm_daemon.pipelines.accelerators.openvino_trace import trace
    from lcm_daemon.pipelines.accelerators.upsampling import Upsampling
    from lcm_daemon.pipelines.lora_file import Factor
    from lcm_daemon.pipelines.loras import LiveLoras
    from lcm_daemon.pipelines.vae import VaeDecoder

HINT = {"INFERENCE_PRECISION_HINT": "f32"}
BUILTIN = RECIPES.parent / "models" / "builtin"


def need_openvino() -> Any:
    need(importlib.util.find_spec("openvino") is not None, "openvino is not installed")
    return importlib.import_module("openvino")


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(),
                         Upsampling(nn.Conv2d(8, 8, 3, padding=1)))
    return made.eval().requires_grad_(False)


RANGES = {"0": (-4.0, 4.0), "2": (0.0, 3.0), "4": (-0.3, 2.0)}


def ranges_of(module: nn.Module, argument: torch.Tensor) -> dict[str, tuple[float, float]]:
    """The range of every convolution's input."""
    found: dict[str, tuple[float, float]] = {}

    def watch(path: str) -> Any:
        return lambda layer, arguments: found.update({path: (float(arguments[0].min()), float(arguments[0].max()))})

    hooks = [layer.register_forward_pre_hook(watch(path)) for path, layer in module.named_modules()
             if isinstance(layer, nn.Conv2d)]
    module(argument)
    for hook in hooks:
        hook.remove()
    return found


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@inference_mode
def test_rounded_layers_are_near_the_float_ones() -> None:
    plain, rounded, image = layers(), layers(), torch.randn(1, 6, 16, 16)
    assert quantise(rounded, Int8({**RANGES, "absent.1": (0.0, 1.0)}, 0.1)) == 3
    assert 1e-4 < distance(rounded(image), plain(image)) < 0.03
    clipped = layers()
    quantise(clipped, Int8({"0": (-0.5, 0.5)}, 0.1))
    assert distance(clipped(image), plain(image)) > 0.2


def test_products_of_neighbours_fit_in_16_bits() -> None:
    weight = torch.randn(16, 10, 3, 3)
    weight[:, 4:6] = 5.0  # two neighbours at the limit, which is the worst case
    levels = functional.pad((weight / weight_steps(weight)[:, None, None, None]).round().abs(), (0, 0, 0, 0, 0, 2))
    pairs = levels.unflatten(1, (-1, 4)).topk(2, dim=2).values.sum(2)
    assert 255 * float(pairs.max()) < 2**15
    assert float(levels.max()) > 60  # and no more bits are lost than that takes


@inference_mode
def test_a_live_form_is_quantised_beside_its_loras() -> None:
    module, image = layers(), torch.randn(1, 6, 16, 16)
    loras = LiveLoras(module, [], {"one": {module[0]: Factor(0.1 * torch.randn(8, 2), torch.randn(2, 54))}})
    form = live_form(module, loras.low_rank(module), lambda: loras.weights)
    assert form is not None
    assert quantise(form.make(), Int8({"0": (-4.0, 4.0)}, 0.1)) == 1
    loras.set_weights({"one": 0.8})
    assert 1e-4 < distance(form.make()(form.scales(), image), module(image)) < 0.03


def test_the_file_is_optional_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_int8(tmp_path) == {}
    (tmp_path / "int8.json").write_text(json.dumps({"encoder": {"ranges": {"a": [0, 1]}, "tolerance": 0.1}}))
    assert read_int8(tmp_path)["encoder"] == Int8({"a": (0.0, 1.0)}, 0.1)
    (tmp_path / "int8.json").write_text('{"encoder": {"ranges": 1}}')
    with pytest.raises(RecipeError, match=r"int8\.json: not a file that the step int8"):
        read_int8(tmp_path)


def test_the_built_in_model_says_how_it_is_quantised() -> None:
    found = {**read_int8(BUILTIN / "unet"), **read_int8(BUILTIN / "vae")}
    assert set(found) == {"encoder", "denoiser", "decoder"}
    assert all(each.ranges and 0.0 < each.tolerance < 0.5 for each in found.values())
    assert sum((BUILTIN / folder / "int8.json").stat().st_size for folder in ("unet", "vae")) < 100_000


@pytest.mark.compile
@inference_mode
def test_openvino_makes_both_forms_from_one_conversion(tmp_path: Path) -> None:
    """The float form is exact, though the converter merges ReLUs and factors into rounding; int8 is as torch rounds."""
    openvino = need_openvino()
    from lcm_daemon.pipelines.accelerators.openvino_forms import float_form, int8_form

    torch.manual_seed(0)
    plain, latents = VaeDecoder(tiny.make_tiny_vae(4).eval()), torch.randn(1, 4, 8, 8)
    int8 = Int8(ranges_of(plain, latents), 0.1)
    rounded = copy.deepcopy(plain)
    quantise(rounded, int8)
    trace(plain, (latents,), tmp_path / "traced.pt", int8)
    model = openvino.convert_model(torch.jit.load(tmp_path / "traced.pt"), example_input=(latents,),
                                   input=[tuple(latents.shape)])
    outputs = {name: torch.from_numpy(openvino.Core().compile_model(form, "CPU", HINT)([latents.numpy()])[0])
               for name, form in (("float", float_form(model)), ("int8", int8_form(model)))}
    assert distance(outputs["float"], plain(latents)) < 1e-5
    assert 1e-3 < distance(outputs["int8"], plain(latents)) < 0.1
    assert distance(outputs["int8"], rounded(latents)) < 0.02


@pytest.mark.compile
@inference_mode
def test_openvino_times_both_forms(tmp_path: Path) -> None:
    need_openvino()
    module, image = layers(), torch.randn(1, 6, 16, 16)
    compiled = OpenVino(torch.device("cpu"), Features(int8={"decoder": Int8(RANGES, 0.1)}),
                        CompileCache("openvino", tmp_path)).compile("decoder", module, (image,))
    assert distance(compiled(image), module(image)) < 0.03
    head = next((tmp_path / "openvino").glob("*.blob")).read_bytes().partition(b"\n")[0]
    assert set(json.loads(head)["seconds"]) == {"float on CPU", "int8 on CPU"}
