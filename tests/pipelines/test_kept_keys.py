"""Kept keys and values: the UNet's prediction stays the same, bit by bit, and they are computed only when asked to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipelines.conftest import inference_mode
from tests.rigs import tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    from torch import Tensor, nn

    from lcm_daemon.pipelines.kept_keys import KeptKeys
    from lcm_daemon.pipelines.unet import UNetPass

XL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
      "projection_class_embeddings_input_dim": 6 * 8 + 32}


class Pair:
    """A UNet with kept keys, and an equal one without."""

    def __init__(self, family: dict[str, Any]) -> None:
        self.unets = []
        for _ in range(2):
            torch.manual_seed(0)
            self.unets.append(tiny.make_unet(**family).eval().requires_grad_(False))
        self.kept = KeptKeys(self.unets[0])
        self.states = torch.randn(1, 5, 32)
        self.is_xl = bool(family)
        self.projected = 0
        for layer in self.unets[0].modules():
            if isinstance(layer, nn.Linear) and layer.in_features == 32 and layer.bias is None:
                layer.register_forward_hook(lambda layer, given, made: self._count(given[0]))

    def _count(self, given: Tensor) -> None:
        self.projected += given.shape[1] == 5

    def write(self, changed: bool = False) -> bool:
        works = self.kept.pending(self.states, changed)
        for _, work in works:
            work()
        return bool(works)

    def is_same(self, states: Tensor) -> bool:
        torch.manual_seed(1)
        sample, pooled, ids = torch.randn(1, 4, 8, 8), torch.randn(1, 32), torch.ones(1, 6)
        added = (None, pooled, ids) if self.is_xl else ()
        ours, theirs = (UNetPass(unet)(sample, torch.tensor([500.0]), states, *added) for unet in self.unets)
        return torch.equal(ours, theirs)


@pytest.mark.parametrize("family", [{}, XL], ids=["sd", "xl"])
@inference_mode
def test_a_pass_reads_what_was_kept(family: dict[str, Any]) -> None:
    pair = Pair(family)
    assert pair.write()
    written, pair.projected = pair.projected, 0
    assert written > 0
    assert pair.is_same(pair.states)
    assert pair.projected == 0
    assert pair.is_same(pair.states.clone()), "a prompt that is not kept is projected"
    assert pair.projected == written


@inference_mode
def test_a_prompt_or_weights_that_change_are_projected_again() -> None:
    pair = Pair({})
    pair.write()
    assert not pair.write()
    pair.states.mul_(1.5)
    assert pair.write(changed=True)
    assert pair.is_same(pair.states)
    for unet in pair.unets:
        for weight in unet.parameters():
            weight.mul_(1.01)
    pair.kept.change_weights()
    assert pair.write()
    assert pair.is_same(pair.states)
    assert not pair.write()
