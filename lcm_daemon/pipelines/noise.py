"""Noise: what pictures grow from. Fixed for a seed, blended between seeds, or walking from seed to seed with time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch

MAX_STEPS = 8  # as parameters.TABLE has it
SEEDS_KEPT = 16  # drawn seeds that stay on the device: 8 MB at 512x512, 33 MB at 1024x1024

Parts = Sequence[tuple[int, float]]  # seeds with their shares; the shares add up to 1


class Noise:
    """The noise of a seed, or of a place between seeds.

    values: float32 (8, channels, height, width) on `device`, the same memory for good: [0] starts a picture, [i]
    follows step i. Drawn on the CPU one after another, as diffusers does with a CPU generator, so a seed is the same
    picture on every device. It is written between frames, never inside a captured graph, which only reads it.

    Nothing is drawn or written while the seeds and the number of steps stand still, and no more than the steps need.
    """

    def __init__(self, channels: int, height: int, width: int, device: torch.device) -> None:
        self.values = torch.zeros(MAX_STEPS, channels, height, width, device=device)
        self.place = 0.0  # how far the walk has come, in seeds; may be handed on to a successor
        self._walked: float | None = None  # time of the last `walk`
        self._seeds: OrderedDict[int, _Seed] = OrderedDict()
        self._holds: tuple[Parts, int] = ((), 0)

    def seed(self, seed: int, steps: int = MAX_STEPS) -> torch.Tensor:
        """`values`, those of one seed."""
        return self.blend(((seed, 1.0),), steps)

    def blend(self, parts: Parts, steps: int = MAX_STEPS) -> torch.Tensor:
        """`values`, on the sphere between seeds; at the ends exactly those of the one seed. First `steps` are valid.

        Two seeds are met along the great circle (Shoemake, 1985): independent noise stands at right angles, so the
        factors are sin(share * pi / 2). The sum is then brought to the length that the shares ask for, which
        corrects for the angle being a right one only on average, and makes the same rule hold for several seeds.
        """
        parts = _merged(parts)
        held, drawn = self._holds
        if parts != held or steps > drawn:
            self._write([(self._drawn(seed, steps), share) for seed, share in parts], steps)
            self._holds = parts, steps
        return self.values

    def walk(self, parts: Parts, speed: float, now: float, steps: int = MAX_STEPS) -> torch.Tensor:
        """`values` on the way from each seed n to n + 1, n + 2 and on, at `speed` seeds a second.

        now: seconds on any clock that does not go back. The way is added up from call to call, so a change of speed
        is no jump.
        """
        self.place += speed * max(now - (now if self._walked is None else self._walked), 0.0)
        self._walked = now
        whole = math.floor(self.place)
        share = self.place - whole
        return self.blend([part for seed, weight in parts for part in (
            (seed + whole, weight * (1.0 - share)), (seed + whole + 1, weight * share))], steps)

    def forget(self) -> None:
        """A walk begins anew, at its seed."""
        self.place, self._walked = 0.0, None

    def _drawn(self, seed: int, steps: int) -> _Seed:
        if seed not in self._seeds:
            if len(self._seeds) >= SEEDS_KEPT:
                self._seeds.popitem(last=False)
            self._seeds[seed] = _Seed(seed, self.values)
        self._seeds.move_to_end(seed)
        self._seeds[seed].draw(steps)
        return self._seeds[seed]

    def _write(self, seeds: Sequence[tuple[_Seed, float]], steps: int) -> None:
        values = self.values[:steps]
        if len(seeds) == 1:
            values.copy_(seeds[0][0].values[:steps])
            return
        values.zero_()
        for seed, share in seeds:
            values.add_(seed.values[:steps], alpha=math.sin(share * math.pi / 2))
        length = sum(seed.lengths[:steps] * share for seed, share in seeds)
        values.mul_(length / _lengths(values))


def _merged(parts: Parts) -> Parts:
    """Every seed once; without those that have no share."""
    shares: dict[int, float] = {}
    for seed, share in parts:
        shares[seed] = shares.get(seed, 0.0) + share
    return tuple((seed, share) for seed, share in shares.items() if share > 0.0)


class _Seed:
    """What one seed gives, drawn as far as somebody asked. lengths: (8, 1, 1, 1), the norm of each."""

    def __init__(self, seed: int, like: torch.Tensor) -> None:
        self.values, self.lengths = torch.empty_like(like), like.new_zeros(len(like), 1, 1, 1)
        self._generator = torch.Generator().manual_seed(seed)
        self._count = 0

    def draw(self, steps: int) -> None:
        for number in range(self._count, steps):
            one = torch.randn(self.values[number].shape, generator=self._generator)
            self.values[number].copy_(one)
        if steps > self._count:
            self.lengths[:steps] = _lengths(self.values[:steps])
            self._count = steps


def _lengths(values: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(values, dim=(1, 2, 3), keepdim=True)
    return lengths
