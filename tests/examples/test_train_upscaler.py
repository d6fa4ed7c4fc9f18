"""The training of the upscaler's network, with few pictures: what it writes is better than interpolation."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch

    from examples.train_upscaler import train
    from lcm_daemon.pipelines.upscaler_networks import read_edge_network

pytestmark = pytest.mark.training


def test_a_short_training_beats_interpolation_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("STOCK", 1), ("SIDE", 96), ("FILTER_BATCHES", 10)):
        monkeypatch.setattr(train, name, number)
    monkeypatch.setattr(train, "PAINTERS", dict(itertools.islice(train.PAINTERS.items(), 12, 16)))
    file = tmp_path / "edges.safetensors"
    for minutes in (0.01, 0.0):
        train.train(file, minutes)
        network = read_edge_network(file)
        missed, made = 0.0, 0.0
        with torch.inference_mode():
            for small, large in itertools.islice(train.samples(7), 8):
                plain = train.double(small)
                missed += float((plain - large).square().mean())
                made += float((plain + network.detail(small) - large).square().mean())
        assert made < 0.95 * missed
