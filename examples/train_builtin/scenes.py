"""Stand-ins for photographs with their statistics: shapes of all sizes, textures, shading, blur; drawn on the device.

The sizes of the shapes follow a power law, so that the scene looks alike at all scales (dead leaves: Lee, Mumford and
Huang 2001). Small shapes are drawn on tiles of the picture at once, which costs as little as one large shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from examples.train_builtin import runs, vae

TEXTURES = 5
TILES = ((1, 9), (2, 5), (4, 3), (8, 2), (1, 3))  # tiles along a side, and shapes drawn on each of them


class Scenes:
    """A seeded source of scenes."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.generator = size, runs.generator(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def draw(self, count: int) -> Tensor:
        """Return scenes (count, 3, size, size) from 0 to 1."""
        tone = self.textures(count, 1.8, 2.6)[:, 0] * 0.15 + self.uniform(0.2, 0.8, count, 1, 1)
        kind = torch.zeros(count, self.size, self.size)
        hue = torch.zeros(count, 2, self.size, self.size)
        for tiles, shapes in TILES:
            for _ in range(shapes):
                self.cover(tone, kind, hue, tiles)
        rough = self.textures(count * TEXTURES, 0.6, 2.2).unflatten(0, (count, TEXTURES))[:, :, 0]
        rough = rough * self.uniform(0, 1, count, TEXTURES, 1, 1).square() * 0.16
        picked = kind.long().clamp(0, TEXTURES - 1)[:, None]
        light = self.focus(tone + rough.gather(1, picked)[:, 0])
        light = light * self.uniform(0.6, 1.1, count, 1, 1) + self.uniform(-0.05, 0.15, count, 1, 1)
        hue = hue * self.uniform(0, 1, count, 1, 1, 1)
        light = light + self.uniform(0, 0.012, count, 1, 1) * torch.randn(light.shape, generator=self.generator)
        return vae.to_rgb(torch.cat([light[:, None], hue], 1)).clamp(0, 1)

    def cover(self, tone: Tensor, kind: Tensor, hue: Tensor, tiles: int) -> None:
        """Draw one shape on every tile, in place: its tone with a slope, its texture and its colour."""
        side, count = self.size // tiles, len(tone) * tiles * tiles
        axis = (torch.arange(side) + 0.5) / side - 0.5
        x, y = axis - self.uniform(-0.6, 0.6, count, 1, 1), axis[:, None] - self.uniform(-0.6, 0.6, count, 1, 1)
        angle, flat = self.uniform(0, math.pi, count, 1, 1), self.uniform(0.25, 1, count, 1, 1)
        along, across = x * angle.cos() + y * angle.sin(), (y * angle.cos() - x * angle.sin()) / flat
        box = torch.maximum(along.abs(), across.abs())
        reach = 0.08 * self.uniform(0.02, 1, count, 1, 1).rsqrt()  # a density that falls with the third power
        distance = torch.where(self.uniform(0, 1, count, 1, 1) < 0.4, box, torch.hypot(along, across))
        soft = self.uniform(0.8, 1, count, 1, 1).pow(-8) / side  # 1 to 6 pixels wide
        inside = ((reach.clamp(max=0.55) - distance) / soft + 0.5).clamp(0, 1)
        slope = self.uniform(-0.5, 0.5, count, 1, 1) * along + self.uniform(-0.5, 0.5, count, 1, 1) * across
        shade = (0.5 + 0.22 * torch.randn((count, 1, 1), generator=self.generator)).clamp(0, 1)
        shade = shade + slope * self.uniform(0, 1, count, 1, 1) ** 2
        inside = self.join(inside, tiles)
        tone.lerp_(self.join(shade.expand_as(box), tiles), inside)
        number = self.uniform(0, TEXTURES, count, 1, 1).floor().expand(count, side, side)
        kind.copy_(torch.where(inside > 0.5, self.join(number, tiles), kind))
        for channel in range(2):
            tint = (0.07 * torch.randn((count, 1, 1), generator=self.generator)).expand(count, side, side)
            hue[:, channel].lerp_(self.join(tint, tiles), inside)

    def join(self, parts: Tensor, tiles: int) -> Tensor:
        """Put the tiles (count * tiles * tiles, side, side) together to pictures (count, size, size)."""
        grid = parts.unflatten(0, (-1, tiles, tiles)).permute(0, 1, 3, 2, 4)
        return grid.reshape(-1, self.size, self.size)

    def textures(self, count: int, low: float, high: float) -> Tensor:
        """Return noise (count, 1, size, size) of unit variance whose amplitude falls by a power from low to high.

        Half of it is longer in one direction than in the other.
        """
        rows = torch.fft.fftfreq(self.size, 1 / self.size)[:, None]
        columns = torch.fft.rfftfreq(self.size, 1 / self.size)
        angle = self.uniform(0, math.pi, count, 1, 1)
        stretch = self.uniform(0, 1, count, 1, 1) ** 2 * 3
        along, across = rows * angle.cos() + columns * angle.sin(), columns * angle.cos() - rows * angle.sin()
        distance = torch.hypot(along * (1 + stretch), across).clamp(min=1)
        spectrum = torch.fft.rfft2(torch.randn((count, self.size, self.size), generator=self.generator))
        noise = torch.fft.irfft2(spectrum * distance ** -self.uniform(low, high, count, 1, 1), s=(self.size,) * 2)
        return (noise / noise.std(dim=(1, 2), keepdim=True))[:, None]

    def focus(self, light: Tensor) -> Tensor:
        """Blend each picture with a blurred copy of it, by a share of its own."""
        blurred = torch.nn.functional.avg_pool2d(
            torch.nn.functional.pad(light[:, None], (1, 1, 1, 1), mode="replicate"), 3, 1
        )[:, 0]
        return torch.lerp(light, blurred, self.uniform(0, 1, len(light), 1, 1) ** 2)
