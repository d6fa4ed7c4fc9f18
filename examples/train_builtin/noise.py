"""Seeded random fields, drawn for a whole batch at once: (images, height, width), float32."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from examples.train_builtin import runs


@dataclass
class Noise:
    """A seeded source of fields for `count` square images of `size` pixels a side."""

    count: int
    size: int
    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = runs.generator(self.seed)
        axis = (torch.arange(self.size) + 0.5) / self.size
        self.y, self.x = torch.meshgrid(axis, axis, indexing="ij")

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return uniform random numbers, one for each image: (count, 1, 1), or (count, *shape)."""
        return low + (high - low) * torch.rand((self.count, *(shape or (1, 1))), generator=self.generator)

    def normal(self, height: int, width: int) -> Tensor:
        return torch.randn((self.count, height, width), generator=self.generator)

    def coin(self, chance: float) -> Tensor:
        """Return booleans (count, 1, 1), each true with the probability `chance`."""
        return self.uniform(0, 1) < chance

    def clouds(self, cells: tuple[int, int] = (4, 4), octaves: int = 5, fall: float = 0.5) -> Tensor:
        """Return fractal noise of about unit variance; `cells` are (rows, columns) of the coarsest octave."""
        total, gain = self.normal(*cells), 1.0
        for _ in range(octaves - 1):
            gain *= fall
            total = F.interpolate(total[:, None], scale_factor=2, mode="bilinear")[:, 0]
            total = total + gain * self.normal(*total.shape[1:])
        whole = F.interpolate(total[:, None], size=(self.size, self.size), mode="bicubic")[:, 0]
        return whole / whole.std(dim=(1, 2), keepdim=True)

    def turned(self, degrees: float) -> tuple[Tensor, Tensor]:
        """Return coordinates from 0 to 1, rotated about the centre by up to this angle in either direction."""
        angle = self.uniform(-degrees, degrees) * math.pi / 180
        x, y = self.x - 0.5, self.y - 0.5
        return x * angle.cos() - y * angle.sin() + 0.5, x * angle.sin() + y * angle.cos() + 0.5

    def centred(self, spread: float) -> tuple[Tensor, Tensor]:
        """Return coordinates about a centre that is off the middle by up to `spread` on each axis."""
        return self.x - 0.5 - self.uniform(-spread, spread), self.y - 0.5 - self.uniform(-spread, spread)

    def cells(self, x: Tensor, y: Tensor, jitter: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return Voronoi cells of a jittered unit lattice: nearest and second distance, cell number, offset."""
        nearest = second = torch.full_like(x, 9.0)
        number, dx, dy = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
        salt = self.uniform(0, 100)
        for row in (-1, 0, 1):
            for column in (-1, 0, 1):
                cx, cy = x.floor() + column, y.floor() + row
                px = cx + 0.5 + jitter * (scatter(cx, cy, salt) - 0.5) - x
                py = cy + 0.5 + jitter * (scatter(cx, cy, salt + 7) - 0.5) - y
                distance = torch.hypot(px, py)
                closer = distance < nearest
                second = torch.where(closer, nearest, torch.minimum(second, distance))
                number = torch.where(closer, scatter(cx, cy, salt + 13), number)
                dx, dy = torch.where(closer, px, dx), torch.where(closer, py, dy)
                nearest = torch.minimum(nearest, distance)
        return nearest, second, number, dx, dy


def scatter(x: Tensor, y: Tensor, salt: Tensor) -> Tensor:
    """Return a pseudo-random number from 0 to 1 for each lattice point (the common sine hash of shader code)."""
    return ((x * 12.9898 + y * 78.233 + salt).sin() * 4375.8545).frac().abs()


def smooth(value: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Smoothstep: 0 below `low`, 1 above `high`, 3t^2 - 2t^3 between."""
    t = ((value - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
