"""RecordedNoise: the noise of `Noise`, made inside a recording from a few numbers.

The device keeps the drawn tensors of the last seeds. A frame's noise is a weighted sum of some of them, so a seed that
walks or glides costs no launch. The sum's length, which the weights correct, follows from products of the drawn
tensors, and these are computed on the host when a pair of seeds first meets.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lcm_daemon.pipelines.noise import MAX_STEPS, SEEDS_CACHED, Noise, SeedShares
from lcm_daemon.pipelines.numbers import Numbers

TERMS = 4  # of the sum inside the recording: two seeds that glide while both walk


class RecordedNoise(Noise):
    """As `Noise`; `blend` and `walk` write numbers, and `run` makes the values from them.

    numbers: for this object's numbers.
    """

    def __init__(self, channels: int, height: int, width: int, device: torch.device, numbers: Numbers) -> None:
        super().__init__(channels, height, width, device)
        # The last row is for sums of more seeds than TERMS, which are made outside of the recording.
        self._table = torch.zeros(SEEDS_CACHED + 1, *self.values.shape, device=device)
        self._rows = numbers.reserve(TERMS)
        self._weights = numbers.reserve(TERMS * MAX_STEPS)
        self._drawn: OrderedDict[int, _DrawnSeed] = OrderedDict()
        self._is_pinned = device.type == "cuda"

    def run(self, steps: int) -> Tensor:
        """Compute the values of the first `steps` tensors."""
        terms = self._table[:, :steps].index_select(0, self._rows.tensor.long())
        weights = self._weights.tensor.view(TERMS, MAX_STEPS)[:, :steps, None, None, None]
        torch.sum(terms.mul_(weights), 0, out=self.values[:steps])
        return self.values

    def _update(self, parts: SeedShares, steps: int) -> None:
        seeds = [self._draw_on_host(seed, steps) for seed, _ in parts]
        if len(seeds) == 1:
            self._send([seeds[0].row], np.ones((1, MAX_STEPS)))
            return
        shares = np.array([share for _, share in parts])
        factors = np.sin(shares * math.pi / 2)
        wanted = shares @ np.stack([seed.lengths() for seed in seeds])
        products = np.stack([[one.product(other, steps) for other in seeds] for one in seeds])
        actual = np.sqrt(np.einsum("i,j,ijs->s", factors, factors, products[..., :steps]))
        weights = np.zeros((len(seeds), MAX_STEPS))
        weights[:, :steps] = factors[:, None] * (wanted[:steps] / actual)
        if len(seeds) <= TERMS:
            self._send([seed.row for seed in seeds], weights)
        else:
            self._sum_outside(seeds, factors, steps)
            self._send([SEEDS_CACHED], weights[:1] / factors[0])

    def _send(self, rows: Sequence[int], weights: np.ndarray) -> None:
        all_weights = np.zeros((TERMS, MAX_STEPS))
        all_weights[:len(weights)] = weights
        self._rows.write([*rows, *[rows[0]] * (TERMS - len(rows))])
        self._weights.write(all_weights.ravel())

    def _sum_outside(self, seeds: Sequence[_DrawnSeed], factors: np.ndarray, steps: int) -> None:
        """A launch for each seed: more than TERMS of them meet only where glides are interrupted again and again."""
        total = self._table[SEEDS_CACHED, :steps].zero_()
        for seed, factor in zip(seeds, factors, strict=True):
            total.add_(self._table[seed.row, :steps], alpha=float(factor))

    def _draw_on_host(self, seed: int, steps: int) -> _DrawnSeed:
        if seed not in self._drawn:
            row = len(self._drawn)
            if row >= SEEDS_CACHED:
                _, oldest = self._drawn.popitem(last=False)
                row = oldest.row
            shape = tuple(self.values.shape)
            self._drawn[seed] = _DrawnSeed(seed, row, torch.empty(shape, pin_memory=self._is_pinned))
        self._drawn.move_to_end(seed)
        drawn = self._drawn[seed]
        if new := drawn.draw(steps):
            self._table[drawn.row, new].copy_(drawn.values[new], non_blocking=self._is_pinned)
        return drawn


class _DrawnSeed:
    """The noise of one seed on the host, drawn as far as it was needed. row: where the device has it."""

    def __init__(self, seed: int, row: int, values: Tensor) -> None:
        self.seed, self.row, self.values = seed, row, values
        self._generator = torch.Generator().manual_seed(seed)
        self._count = 0
        self._products: dict[int, np.ndarray] = {}  # with another seed, by step; NaN where not computed

    def draw(self, steps: int) -> slice | None:
        """Draw the tensors of `steps` steps; return those that are new."""
        new = slice(self._count, steps)
        for number in range(self._count, steps):
            torch.randn(self.values[number].shape, generator=self._generator, out=self.values[number])
        self._count = max(steps, self._count)
        return new if new.start < new.stop else None

    def lengths(self) -> np.ndarray:
        """The norm of each tensor, (MAX_STEPS,)."""
        lengths: np.ndarray = np.sqrt(self.product(self, self._count))
        return lengths

    def product(self, other: _DrawnSeed, steps: int) -> np.ndarray:
        """The scalar product with another seed's tensors, (MAX_STEPS,), valid for the first `steps`."""
        products = self._products.setdefault(other.seed, np.full(MAX_STEPS, math.nan))
        for number in np.flatnonzero(np.isnan(products[:steps])):
            products[number] = float(torch.dot(self.values[number].flatten(), other.values[number].flatten()))
        return products
