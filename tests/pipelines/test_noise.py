"""Noise: a seed is a picture, between seeds lies a smooth way, and the walk goes by the clock."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.noise import MAX_STEPS, SEEDS_CACHED, Noise

SHAPE = (4, 32, 32)


def new() -> Noise:
    return Noise(*SHAPE, torch.device("cpu"))


def drawn(seed: int) -> torch.Tensor:
    """What diffusers draws for a seed, one after another."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randn(SHAPE, generator=generator) for _ in range(MAX_STEPS)])


def lengths(values: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.linalg.vector_norm(values, dim=(1, 2, 3))
    return found


def test_noise_depends_only_on_the_seed() -> None:
    noise = new()
    assert torch.equal(noise.seed(3), drawn(3))
    assert torch.equal(noise.seed(4), drawn(4))
    assert torch.equal(noise.seed(3), drawn(3))


def test_values_keep_their_address() -> None:
    noise = new()
    where = noise.values.data_ptr()
    for found in (noise.seed(1), noise.blend([(1, 0.5), (2, 0.5)]), noise.walk([(1, 1.0)], 2.0, 0.3)):
        assert found.data_ptr() == where


@pytest.mark.parametrize("parts", [[(7, 1.0)], [(7, 1.0), (8, 0.0)], [(8, 0.0), (7, 1.0)], [(7, 0.25), (7, 0.75)]])
def test_the_ends_of_a_blend_are_exact(parts: list[tuple[int, float]]) -> None:
    assert torch.equal(new().blend(parts), drawn(7))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_two_seeds_blend_on_the_sphere(share: float) -> None:
    """Against the textbook's slerp by the true angle; independent noise is within a degree or so of a right one."""
    one, two = drawn(1), drawn(2)
    found = new().blend([(1, 1 - share), (2, share)])
    for a, b, c in zip(one, two, found, strict=True):
        angle = torch.arccos((a * b).sum() / (a.norm() * b.norm()))
        expected = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
        assert float((c - expected).norm() / expected.norm()) < 0.02
    torch.testing.assert_close(lengths(found), lengths(one) * (1 - share) + lengths(two) * share, rtol=1e-5, atol=0)


def test_several_seeds_keep_the_spread_of_one() -> None:
    """A mean would not: half of two and a half of another has 0.71 of the deviation."""
    found = new().blend([(1, 0.2), (2, 0.3), (3, 0.5)])
    expected = sum(lengths(drawn(seed)) * share for seed, share in [(1, 0.2), (2, 0.3), (3, 0.5)])
    torch.testing.assert_close(lengths(found), expected, rtol=1e-5, atol=0)
    assert float(found.std()) == pytest.approx(1.0, abs=0.02)
    assert float(found.mean()) == pytest.approx(0.0, abs=0.02)


def test_a_seed_glide_has_no_jump_and_an_even_pace() -> None:
    noise = new()
    way = [noise.blend([(1, 1 - i / 100), (2, i / 100)]).clone() for i in range(101)]
    paces = [float((b - a).norm() / a.norm()) for a, b in itertools.pairwise(way)]
    assert max(paces) < 1.05 * math.pi / 200
    assert min(paces) > 0.95 * math.pi / 200


def test_the_walk_passes_through_every_seed_at_its_time() -> None:
    noise = new()
    assert torch.equal(noise.walk([(5, 1.0)], 2.0, 100.0), drawn(5))
    torch.testing.assert_close(noise.walk([(5, 1.0)], 2.0, 100.25), new().blend([(5, 0.5), (6, 0.5)]))
    assert torch.equal(noise.walk([(5, 1.0)], 2.0, 100.5), drawn(6))
    assert torch.equal(noise.walk([(5, 1.0)], 2.0, 101.5), drawn(8))


def test_the_walk_goes_by_time_not_by_frames() -> None:
    slow, fast = new(), new()
    for i in range(3):
        slow.walk([(0, 1.0)], 0.5, i * 0.5)
    for i in range(9):
        fast.walk([(0, 1.0)], 0.5, i * 0.125)
    torch.testing.assert_close(slow.values, fast.values)


def test_a_change_of_speed_causes_no_jump() -> None:
    noise = new()
    noise.walk([(0, 1.0)], 1.0, 0.0)
    before = noise.walk([(0, 1.0)], 1.0, 1000.3).clone()
    after = noise.walk([(0, 1.0)], 0.0, 1000.4)
    torch.testing.assert_close(after, before)
    after = noise.walk([(0, 1.0)], 10.0, 1000.401)
    assert float((after - before).norm() / before.norm()) < 0.02


def test_a_clock_that_steps_back_does_not_move_the_walk() -> None:
    noise = new()
    noise.walk([(0, 1.0)], 1.0, 5.0)
    noise.walk([(0, 1.0)], 1.0, 4.0)
    assert noise.position == 0.0


def test_a_seed_glides_while_it_walks() -> None:
    noise = new()
    noise.walk([(0, 0.5), (1, 0.5)], 1.0, 0.0)
    found = noise.walk([(0, 0.5), (1, 0.5)], 1.0, 0.5)
    torch.testing.assert_close(found, new().blend([(0, 0.25), (1, 0.5), (2, 0.25)]))


def test_only_the_needed_steps_are_drawn() -> None:
    noise = new()
    assert torch.equal(noise.seed(3, steps=2)[:2], drawn(3)[:2])
    assert not noise.values[2:].any()
    assert torch.equal(noise.seed(3, steps=5)[:5], drawn(3)[:5])
    assert torch.equal(noise.seed(3), drawn(3))
    assert torch.equal(noise.seed(3, steps=1)[:1], drawn(3)[:1])


def test_nothing_is_written_while_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, written = new(), []
    monkeypatch.setattr(Noise, "_write", lambda self, *a: written.append(a))
    for _ in range(3):
        noise.blend([(1, 0.5), (2, 0.5)], steps=2)
        noise.walk([(1, 0.5), (2, 0.5)], 0.0, 1.0, steps=2)
    assert len(written) == 1
    noise.blend([(1, 0.4), (2, 0.6)], steps=2)
    assert len(written) == 2


def test_a_glide_draws_each_seed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, draws = new(), []
    randn = torch.randn

    def counted(*a: Any, **k: Any) -> torch.Tensor:
        draws.append(a)
        return randn(*a, **k)

    monkeypatch.setattr("lcm_daemon.pipelines.noise.torch.randn", counted)
    for i in range(50):
        noise.blend([(1, 1 - i / 49), (2, i / 49)], steps=1)
    assert len(draws) == 2


def test_the_cache_of_seeds_is_limited() -> None:
    noise = new()
    for seed in range(3 * SEEDS_CACHED):
        noise.seed(seed, steps=1)
    assert len(noise._cache) == SEEDS_CACHED
    parts = [(seed, 1 / 20) for seed in range(100, 120)]  # more at once than are kept
    assert float(noise.blend(parts, steps=1)[0].std()) == pytest.approx(1.0, abs=0.03)
