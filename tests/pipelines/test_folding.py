"""Folding: fewer operations, the same function to the last pixel."""

from __future__ import annotations

import copy

import pytest

from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import make_kl_vae, make_tiny_vae

with lazy_imports(globals()):
    import torch
    from diffusers import AutoencoderTiny
    from torch.utils.flop_counter import FlopCounterMode

    from lcm_daemon.pipelines.accelerators.folding import fold_vae


def make_vae(encoder: tuple[int, ...] = (0, 1, 1, 1), decoder: tuple[int, ...] = (1, 1, 1, 0)) -> AutoencoderTiny:
    """The built-in model's layout: no blocks where the picture is largest."""
    torch.manual_seed(0)
    return AutoencoderTiny(latent_channels=4, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                           num_encoder_blocks=encoder, num_decoder_blocks=decoder).double().eval()


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
@inference_mode
def test_a_folded_vae_is_the_same_function(size: tuple[int, int]) -> None:
    plain = make_vae()
    folded = copy.deepcopy(plain)
    assert fold_vae(folded)
    height, width = size
    picture = torch.randn(2, 3, height, width, dtype=torch.float64)
    latents = torch.randn(2, 4, height // 8, width // 8, dtype=torch.float64)
    for ours, theirs in ((folded.encoder(picture), plain.encoder(picture)),
                         (folded.decoder(latents), plain.decoder(latents))):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_it_folds_on_a_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """As MPS says it: what is to become float64 must be on the CPU first."""
    on_cpu: list[int] = []
    to_cpu, to_double = torch.Tensor.cpu, torch.Tensor.double

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        moved = to_cpu(tensor)
        on_cpu.append(id(moved))
        return moved

    def double(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in on_cpu:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return to_double(tensor)

    vae = make_vae().float()
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    monkeypatch.setattr(torch.Tensor, "double", double)
    assert fold_vae(vae)
    assert next(vae.parameters()).dtype == torch.float32


@pytest.mark.slow
@inference_mode
def test_it_saves_what_it_promises() -> None:
    plain, folded = make_vae(), make_vae()
    fold_vae(folded)
    latents = torch.randn(1, 4, 32, 32, dtype=torch.float64)
    with FlopCounterMode(display=False) as before:
        plain.decoder(latents)
    with FlopCounterMode(display=False) as after:
        folded.decoder(latents)
    assert after.get_total_flops() < 0.75 * before.get_total_flops()


@inference_mode
def test_what_has_no_such_pair_stays_as_it_is() -> None:
    for vae in (make_tiny_vae(), make_kl_vae(), make_vae((1, 1, 1, 1), (1, 1, 1, 1))):
        before = str(vae)
        assert not fold_vae(vae)
        assert str(vae) == before
