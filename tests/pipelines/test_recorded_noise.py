"""Noise from a few numbers equals the noise that is written between frames."""

from __future__ import annotations

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from lcm_daemon.pipelines.noise import SEEDS_CACHED, Noise
    from lcm_daemon.pipelines.numbers import Numbers
    from lcm_daemon.pipelines.recorded_noise import TERMS, RecordedNoise

SHAPE = (4, 16, 16)
CPU = torch.device("cpu")


def both() -> tuple[RecordedNoise, Noise]:
    return RecordedNoise(*SHAPE, CPU, Numbers(CPU)), Noise(*SHAPE, CPU)


def test_one_seed_is_exactly_its_noise() -> None:
    ours, plain = both()
    for seed, steps in ((3, 2), (4, 1), (3, 8), (4, 4)):
        ours.seed(seed, steps)
        assert torch.equal(ours.run(steps)[:steps], plain.seed(seed, steps)[:steps])


@pytest.mark.parametrize("count", range(2, 7))
def test_a_blend_of_several_seeds_is_the_same(count: int) -> None:
    """Also of more seeds than the recording sums up."""
    assert TERMS == 4
    ours, plain = both()
    total = count * (count + 1) / 2
    parts = [(seed, (seed + 1) / total) for seed in range(count)]
    for steps in (2, 4):
        ours.blend(parts, steps)
        torch.testing.assert_close(ours.run(steps)[:steps], plain.blend(parts, steps)[:steps], rtol=1e-5, atol=1e-6)


def test_a_walk_is_the_same_however_many_seeds_it_passes() -> None:
    ours, plain = both()
    for number in range(3 * SEEDS_CACHED):
        parts = [(7, 0.4), (100, 0.6)]
        ours.walk(parts, 1.3, float(number), 2)
        torch.testing.assert_close(ours.run(2)[:2], plain.walk(parts, 1.3, float(number), 2)[:2], rtol=1e-5, atol=1e-6)


def test_the_values_keep_their_address_and_a_moving_seed_writes_numbers_only() -> None:
    ours, _ = both()
    ours.blend([(1, 0.5), (2, 0.5)], 2)
    values, table = ours.run(2), ours._table.clone()
    before = values.data_ptr(), values[:2].clone()
    ours.blend([(1, 0.3), (2, 0.7)], 2)
    assert torch.equal(ours._table, table)
    assert ours.run(2).data_ptr() == before[0]
    assert not torch.equal(ours.values[:2], before[1])
