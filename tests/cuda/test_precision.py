"""On a card: the Triton kernels, the fused blocks and float8, against torch's own results."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lcm_daemon.pipelines.accelerators.base import AcceleratorError, Features
from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import nn

    from lcm_daemon.pipelines import accumulation, float8_choice, group_norm, precision
    from lcm_daemon.pipelines.accelerators import load
    from lcm_daemon.pipelines.float8 import Float8Linear, Shape
    from lcm_daemon.pipelines.random_weights import ARCHITECTURES, fill, make_unet
    from lcm_daemon.pipelines.unet import UNetPass

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _card() -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"no CUDA device: torch {torch.__version__} finds none")


def distance(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("count", "channels", "side", "groups"), [
    (1, 320, 64, 32), (2, 960, 64, 32), (1, 1920, 32, 32), (1, 1280, 16, 32), (2, 2560, 8, 32), (1, 128, 512, 32),
    (1, 30, 61, 5)])
@inference_mode
def test_group_norm_on_the_card(dtype: torch.dtype, count: int, channels: int, side: int, groups: int) -> None:
    from lcm_daemon.pipelines import fused_kernels

    torch.manual_seed(0)
    image = torch.randn(count, channels, side, side, device="cuda").to(dtype, memory_format=torch.channels_last)
    norm = nn.GroupNorm(groups, channels, device="cuda", dtype=dtype)
    bias, shift = torch.randn(channels, device="cuda").to(dtype), torch.randn(count, channels, device="cuda").to(dtype)
    found = fused_kernels.group_norm(image, groups, norm.weight, norm.bias, norm.eps, True, bias, shift)
    exact = group_norm.plain(image.double(), norm.double(), True, bias.double(), shift.double())
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert distance(found, exact) < {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 5e-3}[dtype]


@inference_mode
def test_sd_turbo_fused_and_in_float8_on_the_card(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Random weights, real sizes. Prints what is faster."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(float8_choice, "cache_folder", lambda: tmp_path)
    device, dtype = torch.device("cuda"), torch.float16
    unet = fill(make_unet(ARCHITECTURES["stabilityai/sd-turbo"]), device, dtype)
    plain = UNetPass(unet.to(memory_format=torch.channels_last))
    inputs = (torch.randn(1, 4, 64, 64, device=device).to(dtype, memory_format=torch.channels_last),
              torch.full((1,), 999.0, device=device), torch.randn(1, 77, 1024, device=device).to(dtype))
    exact = plain(*inputs)
    print(f"{torch.cuda.get_device_name()}, {precision.of_device(device)}")
    print(f"plain: {float8_choice.recorded_seconds(lambda: plain(*inputs)) * 1e3:.2f} ms")
    fused = load("fused")(device, Features()).compile("denoiser", plain, inputs)
    assert distance(fused(*inputs), exact) < 0.01
    print(f"fused: {float8_choice.recorded_seconds(lambda: fused(*inputs)) * 1e3:.2f} ms")
    if precision.computes_float8(device):
        try:
            made = load("fp8")(device, Features()).compile("denoiser", plain, inputs)
        except AcceleratorError as error:
            print(error)
        else:
            assert distance(made(*inputs), exact) < 0.03
            print(f"fp8, compiled: {float8_choice.recorded_seconds(lambda: made(*inputs)) * 1e3:.2f} ms")
    print("\n".join(record.message for record in caplog.records))
    accumulation.switch(False)


@pytest.mark.parametrize("shape", [(4096, 320, 2560), (77, 1024, 640), (1024, 640, 640)])
@inference_mode
def test_a_float8_layer_on_the_card(shape: tuple[int, int, int]) -> None:
    if not precision.computes_float8(torch.device("cuda")):
        pytest.skip(f"{torch.cuda.get_device_name()} does not multiply float8")
    torch.manual_seed(0)
    wanted = Shape(*shape)
    layer = nn.Linear(wanted.inputs, wanted.outputs, device="cuda", dtype=torch.float16)
    rows = torch.randn(wanted.rows, wanted.inputs, device="cuda", dtype=torch.float16)
    for has_triton in (True, False):
        assert distance(Float8Linear(layer, has_triton)(rows), layer(rows)) < 0.05
