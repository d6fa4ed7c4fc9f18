"""The cheap parts of the finishing: the rounds, the heads on the levels, the loss of shapes."""

from __future__ import annotations

import pytest

from examples.train_builtin.words import SUBJECTS
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from examples.train_builtin import diffusion, finishing, sketches, train, vae

pytestmark = pytest.mark.training


def test_each_pass_tells_its_own_and_rehearses_what_was_told_before():
    determined = {name for name, subject in SUBJECTS.items() if subject.determined}
    first, second, third, last = finishing.PASSES
    assert finishing.told_before(first) == determined - {"checker", "honeycomb"}
    assert finishing.told_before(second) == (determined | {"checker", "honeycomb"}) - {"bricks"}
    assert finishing.told_before(third) == determined | {"checker", "honeycomb", "bricks"}
    assert finishing.told_before(last) == determined - {"bricks"}
    assert all(set(late) <= set(SUBJECTS) for late in finishing.PASSES.values())


def test_the_last_pass_leaves_what_the_later_steps_take(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train", "export", "--work", "."])
    assert train.parse().checkpoint == list(finishing.PASSES)[-1]


def test_every_level_of_the_denoiser_is_asked_and_learns_from_it():
    torch.manual_seed(1)
    denoiser = diffusion.build()
    asked = sketches.Sketches(denoiser)
    denoiser(torch.randn(2, vae.CHANNELS, 32, 32), 999, torch.randn(2, 16, 128))
    sides = {name: cells.shape[-1] for name, cells in asked.seen.items()}
    assert sides == {"middle": 4, "up0": 8, "up1": 16, "up2": 32, "up3": 32}
    assert {name: side * asked.scales[name] for name, side in sides.items()} == dict.fromkeys(sides, 32)
    clean = torch.randn(2, vae.CHANNELS, 32, 32)
    loss = asked.loss(torch.tensor([True, False]), clean, torch.ones(vae.CHANNELS, 1, 1))
    loss.backward()
    assert 0.8 < loss.item() < 3
    assert denoiser.conv_in.weight.grad.abs().sum() > 0


def test_the_updates_of_a_round_share_out_its_samples():
    numbers = torch.arange(sum(map(sum, (finishing.TOLD, finishing.KEPT, finishing.SHAPED))))
    whole = finishing.Round(*[numbers] * 8)
    parts = [whole.take(update).noisy for update in range(finishing.UPDATES)]
    assert [len(part) for part in parts] == [12, 12]
    assert torch.equal(torch.cat(parts).sort().values, numbers)


def test_shapes_count_and_not_their_contrast():
    light = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    assert finishing.shape_loss(light * 0.3 + 0.2, light).item() == pytest.approx(0, abs=1e-4)
    assert finishing.shape_loss(1 - light, light).item() == pytest.approx(2, abs=1e-4)
    assert finishing.shape_loss(light.flip(3), light) > 0.5
