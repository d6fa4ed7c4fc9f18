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
    from lcm_daemon.pipelines.random_weights import ARCHITECTURES, make_unet
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
    assert [one.name for one in choose("fused", torch.device("cpu"), Features(), pytest.fail)] == ["none"]
    assert load("fused").probe(torch.device("cpu")) == "it is for CUDA, and the device is cpu"


# --- counted ---


class Counted:
    """Kernels of one pass, as CUDA launches them, and layouts of the inputs of convolutions."""

    def __init__(self) -> None:
        self.kernels = 0
        self.layouts: list[bool] = []


VIEWS = {"view", "_unsafe_view", "transpose", "permute", "expand", "t", "slice", "unsqueeze", "split", "detach",
         "alias", "as_strided", "squeeze", "select", "_reshape_alias", "empty_like", "empty", "new_empty"}


def count(module: Any, inputs: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Run a pass on the meta device. Attention is one kernel; a convolution's bias is another one (ATen/native)."""
    counted = Counted()

    def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
                  is_causal: bool = False) -> Tensor:
        counted.kernels += 1
        return torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)

    class Watch(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result, name = func(*args, **(kwargs or {})), func._schema.name.removeprefix("aten::")
            if name == "convolution":
                counted.layouts.append(args[0].movedim(1, -1).is_contiguous())
                counted.kernels += 1 if args[2] is None else 2
                return result.contiguous(memory_format=torch.channels_last)  # the weight's layout decides
            if name == "native_group_norm":  # contiguous(), moments, parameters, result
                counted.kernels += 3 if args[0].is_contiguous() else 4
                return result[0].contiguous(), *result[1:]
            counted.kernels += name not in VIEWS
            return result

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", attention)
    with torch.no_grad(), Watch():
        module(*inputs)
    return counted


@pytest.mark.slow
def test_a_pass_of_sd_turbo_needs_a_third_fewer_kernels_and_no_other_layout(
        kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of the change log: 974 and 614, and as many hidden copies before as convolutions get NCHW."""
    model = make_unet(ARCHITECTURES["stabilityai/sd-turbo"]).half()
    plain = channels_last(UNetPass(model))
    quick = fused(plain)
    inputs = (torch.empty(1, 4, 64, 64, device="meta", dtype=torch.half).to(memory_format=torch.channels_last),
              torch.empty(1, device="meta"), torch.empty(1, 77, 1024, device="meta", dtype=torch.half))
    before, after = (count(module, inputs, monkeypatch) for module in (plain, quick))
    assert len(before.layouts) == len(after.layouts) == 66
    assert sum(before.layouts) < 10
    assert all(after.layouts)
    launched = after.kernels + kernels.counts.total()
    assert before.kernels > 950
    assert launched < 620, f"{before.kernels} before, {launched} after"
