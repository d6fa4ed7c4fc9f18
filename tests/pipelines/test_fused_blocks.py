"""The fused blocks: the results of diffusers' blocks, in the layout of the image, with fewer kernels."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.pipelines.accelerators.base import Features
from tests.pipelines.conftest import inference_mode
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import Tensor, nn
    from torch.utils._python_dispatch import TorchDispatchMode

    from lcm_daemon.pipelines import structure
    from lcm_daemon.pipelines.accelerators import choose, load
    from lcm_daemon.pipelines.accelerators.manager import AcceleratorManager
    from lcm_daemon.pipelines.fused_blocks import FusedAttention, FusedResnet, fuse
    from lcm_daemon.pipelines.group_norm import GroupNorm
    from lcm_daemon.pipelines.unet import UNetPass
    from lcm_daemon.pipelines.vae import VaeDecoder, VaeEncoder
    from tests.rigs.fused import Kernels, install

CUDA = torch.device("cuda")
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    return install(monkeypatch)


def channels_last(module: Any) -> Any:
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def unet_inputs(**sizes: int) -> tuple[Tensor, ...]:
    count = sizes.get("count", 1)
    sample = torch.randn(count, 4, 8, 8).to(memory_format=torch.channels_last)
    return sample, torch.full((count,), 499.0), torch.randn(count, sizes.get("tokens", 7), 32)


def fused(module: nn.Module, has_triton: bool = True) -> Any:
    made = structure.share(module)
    assert fuse(made, has_triton) > 0
    return made


@pytest.mark.parametrize("config", [{}, tiny.SD2, {"resnet_out_scale_factor": 2.0}, {"time_cond_proj_dim": 16}],
                         ids=["1.x", "2.x", "scaled", "embedded"])
@inference_mode
def test_a_unet_has_the_results_of_the_original(config: dict[str, Any], kernels: Kernels) -> None:
    torch.manual_seed(0)
    plain = channels_last(UNetPass(tiny.make_unet(**config)))
    quick, inputs = fused(plain), unet_inputs(count=2)
    torch.testing.assert_close(quick(*inputs), plain(*inputs), **CLOSE)
    assert {"group_norm", "add", "geglu"} <= set(kernels.counts)


@pytest.mark.parametrize("tiny_vae", [False, True], ids=["full", "tiny"])
@inference_mode
def test_a_vae_has_the_results_of_the_original(tiny_vae: bool, kernels: Kernels) -> None:
    torch.manual_seed(0)
    vae = channels_last(tiny.make_tiny_vae() if tiny_vae else tiny.make_kl_vae())
    for plain, shape in ((VaeEncoder(vae), (1, 3, 64, 64)), (VaeDecoder(vae), (1, 4, 8, 8))):
        image = torch.randn(shape).to(memory_format=torch.channels_last)
        torch.testing.assert_close(fused(plain)(image), plain(image), **CLOSE)
    assert ("convolution_add_relu" in kernels.counts) is tiny_vae
    assert ("group_norm" in kernels.counts) is not tiny_vae


@inference_mode
def test_without_triton_norms_stay_and_the_rest_is_saved(kernels: Kernels) -> None:
    torch.manual_seed(0)
    plain = channels_last(UNetPass(tiny.make_unet()))
    quick, inputs = fused(plain, has_triton=False), unet_inputs()
    torch.testing.assert_close(quick(*inputs), plain(*inputs), **CLOSE)
    assert not kernels.counts
    assert any(isinstance(getattr(layer, "processor", None), FusedAttention) for layer in quick.modules())


@inference_mode
def test_the_original_stays_plain_and_moved_weights_are_seen_by_both(kernels: Kernels) -> None:
    torch.manual_seed(0)
    plain = channels_last(UNetPass(tiny.make_unet()))
    quick, inputs = fused(plain), unet_inputs()
    kinds = {type(layer) for layer in plain.modules()}
    assert not kinds & {FusedResnet, GroupNorm}
    before = plain(*inputs)
    assert not kernels.counts
    next(layer for layer in plain.modules() if isinstance(layer, nn.Linear)).weight.mul_(1.5)
    assert not torch.allclose(plain(*inputs), before)
    torch.testing.assert_close(quick(*inputs), plain(*inputs), **CLOSE)


def layouts(module: Any, inputs: tuple[Any, ...]) -> list[bool]:
    """Run it; for each convolution, whether the channels of its input lie together."""
    found: list[bool] = []

    class Watch(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in (torch.ops.aten.convolution.default, torch.ops.aten.conv2d.default):
                found.append(args[0].movedim(1, -1).is_contiguous())
            return func(*args, **(kwargs or {}))

    with Watch():
        module(*inputs)
    return found


@inference_mode
def test_every_convolution_gets_channels_last(kernels: Kernels) -> None:
    plain = channels_last(UNetPass(tiny.make_unet(**tiny.SD2)))
    found = layouts(fused(plain), unet_inputs())
    assert len(found) > 10
    assert all(found)


# --- as an accelerator ---


@inference_mode
def test_the_accelerator_verifies_once_and_takes_shapes_that_come_later(kernels: Kernels) -> None:
    torch.manual_seed(0)
    plain = channels_last(UNetPass(tiny.make_unet()))
    accelerator = load("fused")(torch.device("cpu"), Features())
    manager = AcceleratorManager("auto", torch.device("cpu"), Features(), print,
                                 [accelerator, load("none")(torch.device("cpu"), Features())])
    part = manager.accelerate("denoiser", plain)
    part(*unet_inputs())
    assert part.name == "fused"
    manager.loading = False
    kernels.counts.clear()
    inputs = unet_inputs(count=2, tokens=14)
    found = part(*inputs)
    assert kernels.counts["group_norm"] > 0
    torch.testing.assert_close(found, plain(*inputs), **CLOSE)


@inference_mode
def test_kernels_that_fail_leave_the_plain_module_with_one_line(
        kernels: Kernels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*arguments: Any, **named: Any) -> Tensor:
        raise RuntimeError("PassManager::run failed\nand forty more lines")

    monkeypatch.setattr(kernels, "group_norm", fail)
    plain = channels_last(UNetPass(tiny.make_unet()))
    accelerator = load("fused")(torch.device("cpu"), Features())
    manager = AcceleratorManager("auto", torch.device("cpu"), Features(), print,
                                 [accelerator, load("none")(torch.device("cpu"), Features())])
    part, inputs = manager.accelerate("denoiser", plain), unet_inputs()
    torch.testing.assert_close(part(*inputs), plain(*inputs))
    assert part.name == "none"
    assert [record.message for record in caplog.records] == [
        "fused: denoiser cannot be compiled: RuntimeError: PassManager::run failed"]


def test_it_is_chosen_on_cuda_alone() -> None:
    names = {device: [one.name for one in choose("auto", torch.device(device), Features(), pytest.fail)]
             for device in ("cuda", "mps")}
    assert names == {"cuda": ["fused", "none"], "mps": ["none"]}
    lines: list[str] = []
    assert [one.name for one in choose("fused", torch.device("cpu"), Features(), lines.append)] == ["none"]
    assert lines == ["fused: it is for CUDA, and the device is cpu"]
