"""Upsampling folded into the convolution after it: the same function to the last pixel, for fewer operations."""

from __future__ import annotations

import copy

import pytest

from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import make_kl_vae, make_tiny_vae

with lazy_imports(globals()):
    import torch
    from diffusers.models.upsampling import Upsample2D
    from torch import Tensor, nn
    from torch.utils.flop_counter import FlopCounterMode

    from lcm_daemon.pipelines.accelerators.upsampling import Upsampling, fold_upsampling


def plain(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(6, 8, 3, padding=1, bias=bias)).double()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 8)])
@inference_mode
def test_it_is_the_same_function_to_the_edges(bias: bool, size: tuple[int, int]) -> None:
    before, small = plain(bias), torch.randn(2, 6, *size, dtype=torch.float64)
    after = copy.deepcopy(before)
    assert fold_upsampling(after) == 1
    torch.testing.assert_close(after(small), before(small), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@inference_mode
def test_it_is_the_same_when_it_is_traced() -> None:
    before, small = plain(), torch.randn(1, 6, 4, 5, dtype=torch.float64)
    traced = torch.jit.trace(Upsampling(before[1]), small)  # type: ignore[no-untyped-call, arg-type]
    assert "transpose2d" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(small), before(small), rtol=1e-12, atol=1e-12)


@inference_mode
def test_it_takes_four_ninths_of_the_operations() -> None:
    before, small = plain(), torch.randn(1, 6, 16, 16, dtype=torch.float64)
    flops = [count(layer, small) for layer in (before, Upsampling(before[1]))]  # type: ignore[arg-type]
    assert flops[1] / flops[0] == pytest.approx(4 / 9)


def count(layer: nn.Module, small: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        layer(small)
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("vae", "places"), [(make_tiny_vae, 1), (make_kl_vae, 1)])
@inference_mode
def test_a_decoder_is_the_same_function(vae, places: int) -> None:  # type: ignore[no-untyped-def]
    before = vae().double().eval()
    after = copy.deepcopy(before)
    assert fold_upsampling(after.decoder) >= places
    latents = torch.randn(1, before.config.latent_channels, 8, 6, dtype=torch.float64)
    torch.testing.assert_close(after.decode(latents).sample, before.decode(latents).sample, rtol=1e-9, atol=1e-9)


def test_what_will_move_or_does_not_fit_stays() -> None:
    block = Upsample2D(6, use_conv=True)
    assert fold_upsampling(block, kept={block.conv}) == 0
    assert fold_upsampling(Upsample2D(6, use_conv=False)) == 0
    for upsample, convolution in ((nn.Upsample(scale_factor=3), nn.Conv2d(6, 6, 3, padding=1)),
                                  (nn.Upsample(scale_factor=2), nn.Conv2d(6, 6, 1)),
                                  (nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(6, 6, 3, padding=1))):
        assert fold_upsampling(nn.Sequential(upsample, convolution)) == 0
    assert fold_upsampling(block) == 1
    assert fold_upsampling(block) == 0, "once is enough"
