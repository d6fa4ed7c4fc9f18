"""Linear layers in float8: what is converted, by which measurements, and within which tolerance.

torch multiplies float8 on the CPU too, so the results are real. The rules of CUDA are checked by a stand-in of torch's
`_scaled_mm`, which calls the real one.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.pipelines.accelerators.base import AcceleratorError, Features
from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import SD2, make_unet

with lazy_imports(globals()):
    import torch
    from torch import Tensor, nn

    from lcm_daemon.pipelines import accelerators
    from lcm_daemon.pipelines.accelerators import compile as compiling
    from lcm_daemon.pipelines.accelerators import load
    from lcm_daemon.pipelines.accelerators.fp8 import TOLERANCE
    from lcm_daemon.pipelines.float8 import Float8Linear, Shape, candidates, convert, observe, quantise
    from lcm_daemon.pipelines.float8_choice import Timings, choose
    from lcm_daemon.pipelines.unet import UNetPass
    from tests.rigs.fused import install

CPU = torch.device("cpu")
HALF = torch.float16


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """Products in float8. What CUDA refuses fails."""
    found: list[Shape] = []
    real = torch._scaled_mm

    def scaled_mm(self: Tensor, mat2: Tensor, scale_a: Tensor, scale_b: Tensor, bias: Tensor | None = None,
                  scale_result: Tensor | None = None, out_dtype: torch.dtype | None = None,
                  use_fast_accum: bool = False) -> Tensor:
        assert self.dtype == mat2.dtype == torch.float8_e4m3fn
        assert self.stride(1) == 1, "the first matrix is row-major"
        assert self.stride(0) == self.shape[1]
        assert mat2.stride(0) == 1, "the second matrix is column-major"
        assert mat2.stride(1) == mat2.shape[0]
        assert not any(side % 16 for side in (self.shape[1], *mat2.shape))
        for scale in (scale_a, scale_b):
            assert scale.numel() == 1
            assert scale.dtype == torch.float32
        assert out_dtype in (torch.float16, torch.bfloat16)
        assert bias is None or bias.dtype == out_dtype
        found.append(Shape(self.shape[0], *mat2.shape))
        return real(self, mat2, scale_a, scale_b, bias, scale_result, out_dtype, use_fast_accum)

    names = [argument.name for argument in torch.ops.aten._scaled_mm.default._schema.arguments]
    assert names == list(inspect.signature(scaled_mm).parameters)
    monkeypatch.setattr(torch, "_scaled_mm", scaled_mm)
    return found


def unet(**config: Any) -> Any:
    torch.manual_seed(0)
    return UNetPass(make_unet(**{**SD2, **config})).to(HALF).eval().requires_grad_(False)


def inputs() -> tuple[Tensor, ...]:
    return torch.randn(1, 4, 8, 8).to(HALF), torch.full((1,), 499.0), torch.randn(1, 7, 32).to(HALF)


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact.float()).norm() / exact.float().norm())


def timings(folder: Path, faster: bool = True) -> Timings:
    """The layer in 16 bits is timed first, then that in float8."""
    seconds = iter([2e-6, 1e-6] * 100 if faster else [1e-6, 1e-6] * 100)
    return Timings(CPU, HALF, False, lambda work: next(seconds), folder / "timings.json")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 33, 64), (64,), (1, 64)])
@pytest.mark.parametrize("bias", [True, False])
@inference_mode
def test_a_layer_is_close_to_that_in_16_bits(dtype: torch.dtype, shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 48, bias=bias).to(dtype)
    hidden = torch.randn(shape).to(dtype) * 20
    found = Float8Linear(layer)(hidden)
    assert found.dtype == dtype
    assert found.shape == (*shape[:-1], 48)
    assert 0.001 < distance(found, layer(hidden)) < 0.06


@inference_mode
def test_scales_follow_the_values_of_the_moment() -> None:
    tensor = torch.tensor([[-3.0, 1.5, 0.0, 448.0]])
    for factor in (1.0, 1e-4, 100.0):
        quantised, scale = quantise(tensor * factor)
        torch.testing.assert_close(quantised.float() * scale, tensor * factor, rtol=0.07, atol=1e-9)
        assert float(quantised.float().abs().max()) == 448.0
    quantised, scale = quantise(torch.zeros(2, 3))
    assert float(quantised.float().abs().max()) == 0.0
    assert float(scale) > 0.0


def test_layers_of_transformer_blocks_are_candidates_if_they_fit_and_stay() -> None:
    module = unet()
    found = candidates(module, ())
    assert len(found) > 10
    assert all("transformer_blocks" in name for name in found)
    moving = next(name for name in found if name.endswith("to_q"))
    assert candidates(module, {id(module.get_submodule(moving).weight)}).keys() == found.keys() - {moving}
    assert not candidates(module.float(), ()), "float32 recipes stay as they are"
    assert not candidates(unet(cross_attention_dim=24), ()).keys() & {
        name for name in found if name.endswith("attn2.to_k")}, "24 is not a multiple of 16"


@inference_mode
def test_what_is_observed_is_what_a_pass_does(calls: list[Shape]) -> None:
    module, example = unet(), inputs()
    usages = observe(module, example, candidates(module, ()))
    keys = {name: usage for name, usage in usages.items() if name.endswith("attn2.to_k")}
    assert {usage.shape for usage in keys.values()} == {Shape(7, 32, 64)}
    assert all(0.001 < usage.error < 0.2 for usage in usages.values())
    assert not any(layer._forward_hooks for layer in module.modules()), "the original is not touched"


@inference_mode
def test_layers_that_are_faster_are_converted_and_the_times_kept(tmp_path: Path, calls: list[Shape]) -> None:
    module, example = unet(), inputs()
    names = choose(module, example, (), timings(tmp_path), tolerance=0.2)
    assert set(names) == set(candidates(module, ()))
    made = convert(module, names, has_triton=False)
    calls.clear()
    assert distance(made(*example), module(*example)) < 0.2
    assert len(calls) == len(names)
    kept = json.loads((tmp_path / "timings.json").read_text())
    shapes = {str(usage.shape) for usage in observe(module, example, names).values()}
    assert {shape for times in kept.values() for shape in times} == shapes
    again = Timings(CPU, HALF, False, lambda work: pytest.fail("measured again"), tmp_path / "timings.json")
    assert choose(module, example, (), again, tolerance=0.2) == names
    (tmp_path / "timings.json").write_text('{"a": {"b": [1]}}')
    assert choose(module, example, (), timings(tmp_path), tolerance=0.2) == names


@inference_mode
def test_layers_that_are_not_faster_stay(tmp_path: Path) -> None:
    assert not choose(unet(), inputs(), (), timings(tmp_path, faster=False), tolerance=0.2)


@inference_mode
def test_as_many_layers_are_converted_as_the_tolerance_allows(tmp_path: Path) -> None:
    module, example = unet(), inputs()
    exact = module(*example)
    everything = distance(convert(module, [*candidates(module, ())], False)(*example), exact)
    tolerance = everything / 2
    names = choose(module, example, (), timings(tmp_path), tolerance)
    assert 0 < len(names) < len(candidates(module, ()))
    assert distance(convert(module, names, False)(*example), exact) <= tolerance
    assert not choose(module, example, (), timings(tmp_path), 0.0)


# --- as an accelerator ---


def put_in_place(monkeypatch: pytest.MonkeyPatch, folder: Path, faster: bool = True, compiler: str = "") -> list[str]:
    """Let a card be there. Returns what is compiled."""
    compiled: list[str] = []

    def compile_(self: Any, part: str, module: nn.Module, example: tuple[Tensor | None, ...]) -> Any:
        compiled.append(part)
        return module

    monkeypatch.setattr(compiling.Compile, "_compile", compile_)
    monkeypatch.setattr(compiling.Compile, "probe", classmethod(lambda cls, device: compiler))
    monkeypatch.setattr("lcm_daemon.pipelines.float8_choice.Timings", lambda *arguments: timings(folder, faster))
    return compiled


@pytest.mark.parametrize("compiler", ["", "triton is not installed"])
@inference_mode
def test_the_unet_is_converted_then_compiled_or_played_as_it_is(
        compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Shape]) -> None:
    install(monkeypatch)
    compiled = put_in_place(monkeypatch, tmp_path, compiler=compiler)
    module, example = unet(), inputs()
    moving = module.get_submodule(next(iter(candidates(module, ()))))
    accelerator = load("fp8")(CPU, Features(live_weights=True, moving=frozenset({moving})))
    made = accelerator.compile("denoiser", module, example)
    calls.clear()
    assert distance(made(*example), module(*example)) <= TOLERANCE + 0.005
    assert calls, "some layers keep to the tolerance"
    assert compiled == ([] if compiler else ["denoiser"])
    before = made(*example)
    moving.weight.mul_(3.0)
    assert not torch.equal(made(*example), before), "the layer of a live LoRA follows its weight"


@inference_mode
def test_a_card_on_which_nothing_is_faster_plays_in_16_bits(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, tmp_path, faster=False)
    with pytest.raises(AcceleratorError, match="no linear layer is faster in float8"):
        load("fp8")(CPU, Features()).compile("denoiser", unet(), inputs())


@pytest.mark.parametrize(("capability", "chosen", "upgrade"), [
    ((8, 9), ["fp8", "compile", "fused", "none"], "fp8"), ((8, 6), ["fused", "none"], "compile")])
def test_it_is_for_cards_that_multiply_float8(capability: tuple[int, int], chosen: list[str], upgrade: str,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(compiling.Compile, "probe", classmethod(lambda cls, device: ""))
    lines: list[str] = []
    device = torch.device("cuda")
    names = [one.name for one in accelerators.choose("fp8", device, Features(), lines.append)]
    assert [name for name in names if name in chosen] == chosen
    assert ("fp8" in names) is (capability == (8, 9))
    assert accelerators.find_upgrade(device) == upgrade
    assert [one.name for one in accelerators.choose("auto", device, Features(), pytest.fail)] == ["fused", "none"]
