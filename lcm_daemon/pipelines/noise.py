"""Noise: the random tensors that images are made from. Fixed by a seed, blended between seeds, or walking from seed to
seed over time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch

from lcm_daemon.core.parameter_table import TABLE

MAX_STEPS = int(TABLE["steps"].high)
SEEDS_CACHED = 16  # drawn seeds that stay on the device: 8 MB at 512x512, 33 MB at 1024x1024

SeedShares = Sequence[tuple[int, float]]  # seeds with their shares; the shares add up to 1


class Noise:
    """The noise of one seed, or of a point between seeds.

    Noise is drawn on the CPU, one tensor after the other, as diffusers does with a CPU generator. So a seed gives the
    same image on every device. It is written between frames, never inside a captured graph, which only reads it.
    Nothing is drawn or written while the seeds and the number of steps stay the same, and only as many tensors are
    drawn as the steps need.

    Attributes:
        values: float32 (MAX_STEPS, channels, height, width) on the device, always at the same address. [0] starts an
            image, [i] is added after step i.
        position: How far the walk has come, in seeds.
    """

    def __init__(self, channels: int, height: int, width: int, device: torch.device) -> None:
        self.values = torch.zeros(MAX_STEPS, channels, height, width, device=device)
        self.position = 0.0
        self._last_walk: float | None = None  # time of the last `walk`
        self._cache: OrderedDict[int, _SeedNoise] = OrderedDict()
        self._written: tuple[SeedShares, int] = ((), 0)  # what `values` holds: seeds and number of valid tensors

    def seed(self, seed: int, steps: int = MAX_STEPS) -> torch.Tensor:
        """Write the noise of one seed; return `values`."""
        return self.blend(((seed, 1.0),), steps)

    def blend(self, parts: SeedShares, steps: int = MAX_STEPS) -> torch.Tensor:
        """Write noise that lies on the sphere between seeds; return `values`, of which the first `steps` are valid.

        With one seed of share 1 the result is exactly the noise of that seed.

        Two seeds are blended along the great circle (Shoemake, 1985): independent noise is at right angles, so the
        factors are sin(share * pi / 2). The sum is then scaled to the length that the shares ask for. This corrects
        for the angle being a right one only on average, and makes the same rule hold for several seeds.
        """
        parts = _merge(parts)
        written, valid = self._written
        if parts != written or steps > valid:
            self._update(parts, steps)
            self._written = parts, steps
        return self.values

    def walk(self, parts: SeedShares, speed: float, now: float, steps: int = MAX_STEPS) -> torch.Tensor:
        """Write noise on the way from each seed n to n + 1, n + 2 and so on; return `values`.

        The distance is added up from call to call, so a change of speed causes no jump.

        Args:
            parts: Seeds to walk from, with their shares.
            speed: Seeds per second.
            now: Seconds, monotonic.
            steps: Number of valid tensors.
        """
        self.position += speed * max(now - (now if self._last_walk is None else self._last_walk), 0.0)
        self._last_walk = now
        whole = math.floor(self.position)
        share = self.position - whole
        return self.blend([part for seed, weight in parts for part in (
            (seed + whole, weight * (1.0 - share)), (seed + whole + 1, weight * share))], steps)

    def save(self) -> tuple[float, float] | None:
        """As of `Remembering`: how far the walk has come, and when."""
        return None if self._last_walk is None else (self.position, self._last_walk)

    def restore(self, saved: tuple[float, float] | None) -> None:
        """As of `Remembering`. With None the next walk starts at its seed."""
        self.position, self._last_walk = (0.0, None) if saved is None else saved

    def run(self, steps: int) -> torch.Tensor:
        """Return the values, of which `steps` are needed, where they are read. May be part of a recording."""
        return self.values

    def _update(self, parts: SeedShares, steps: int) -> None:
        """Make `values` those of other parts, or of more steps."""
        self._write([(self._draw(seed, steps), share) for seed, share in parts], steps)

    def _draw(self, seed: int, steps: int) -> _SeedNoise:
        if seed not in self._cache:
            if len(self._cache) >= SEEDS_CACHED:
                self._cache.popitem(last=False)
            self._cache[seed] = _SeedNoise(seed, self.values)
        self._cache.move_to_end(seed)
        self._cache[seed].draw(steps)
        return self._cache[seed]

    def _write(self, seeds: Sequence[tuple[_SeedNoise, float]], steps: int) -> None:
        values = self.values[:steps]
        if len(seeds) == 1:
            values.copy_(seeds[0][0].values[:steps])
            return
        values.zero_()
        for seed, share in seeds:
            values.add_(seed.values[:steps], alpha=math.sin(share * math.pi / 2))
        length = sum(seed.lengths[:steps] * share for seed, share in seeds)
        values.mul_(length / _lengths(values))


def _merge(parts: SeedShares) -> SeedShares:
    """Every seed once, without seeds of share 0."""
    shares: dict[int, float] = {}
    for seed, share in parts:
        shares[seed] = shares.get(seed, 0.0) + share
    return tuple((seed, share) for seed, share in shares.items() if share > 0.0)


class _SeedNoise:
    """The noise of one seed, drawn as far as it was needed. lengths: (MAX_STEPS, 1, 1, 1), the norm of each tensor."""

    def __init__(self, seed: int, like: torch.Tensor) -> None:
        self.values, self.lengths = torch.empty_like(like), like.new_zeros(len(like), 1, 1, 1)
        self._generator = torch.Generator().manual_seed(seed)
        self._drawn = 0

    def draw(self, steps: int) -> None:
        for number in range(self._drawn, steps):
            drawn = torch.randn(self.values[number].shape, generator=self._generator)
            self.values[number].copy_(drawn, non_blocking=True)  # a blocking copy waits for the whole queue on MPS
        if steps > self._drawn:
            self.lengths[:steps] = _lengths(self.values[:steps])
            self._drawn = steps


def _lengths(values: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(values, dim=(1, 2, 3), keepdim=True)
    return lengths
