"""The refinement of the autoencoder: the decoder alone, then both halves with the latents held."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from examples.train_builtin import decoder, runs, scenes, vae
    from examples.train_builtin.adoption import adopt
    from examples.train_builtin.train import TARGET

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SIZE": 64, "CROP": 32, "POOL": 2, "SHOWN": 1}.items():
        monkeypatch.setattr(decoder, name, value)


def test_scenes_are_seeded_and_have_edges_and_colours() -> None:
    first, again, other = (scenes.Scenes(64, seed).draw(2) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (2, 3, 64, 64)
    assert 0 <= first.min() < first.max() <= 1
    assert vae.to_ycc(first)[:, 1:].abs().max() > 0.01


def test_a_better_picture_has_a_smaller_loss() -> None:
    wanted = scenes.Scenes(32, 3).draw(1)
    near, far = (decoder.error_loss(wanted + share * torch.randn_like(wanted), wanted) for share in (0.02, 0.2))
    assert near < far


def test_the_decoder_learns_and_the_encoder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(TARGET, tmp_path)
    before = vae.load(tmp_path)
    limit = iter([False] * 2)
    monkeypatch.setattr(runs, "over", lambda: next(limit, True))
    with pytest.raises(runs.OutOfTimeError):
        decoder.train(tmp_path, 600)
    assert vae.newest(tmp_path).name == "vae.pt", "an unfinished part is not used"
    monkeypatch.setattr(runs, "over", lambda: False)
    decoder.train(tmp_path, 0.0)
    after = vae.load(tmp_path)
    assert vae.newest(tmp_path).name == "decoder.pt"
    assert torch.load(tmp_path / "decoder.pt", weights_only=True)["step"] == 3
    assert all(torch.equal(a, b) for a, b in zip(before.encoder.parameters(), after.encoder.parameters(), strict=True))
    assert any(not torch.equal(a, b)
               for a, b in zip(before.decoder.parameters(), after.decoder.parameters(), strict=True))


def test_both_halves_move_while_the_latents_are_held(tmp_path: Path) -> None:
    adopt(TARGET, tmp_path)
    job, rgb = decoder.Refinement(tmp_path, joint=True, held=2.0), scenes.Scenes(32, 3).draw(2)
    loss, decibels = job.loss(rgb)
    assert 15 < decibels < 45
    job.update(loss, 1e-4, 0)
    moved = (job.model.encoder(rgb * 2 - 1) - job.old(rgb * 2 - 1)).abs().max()
    assert 0 < moved < 0.5
