"""A grey picture that the judge's painters draw on: numpy fields and Pillow shapes.

The judge must not learn the habits of the painters that the model is trained on. Therefore its painters share no code
with them: no function of `noise.py` or `painter.py`, and no position, size or angle that is fixed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 192  # pixels; reduced by SHRINK when it is finished
SHRINK = 3

Field = NDArray[np.float32]
Points = list[tuple[float, float]]


class Sheet:
    """Brightness from 0 to 1 as `light` (SIDE, SIDE), float32, with a random generator.

    Coordinates `x` and `y` run from -1 to 1; y points down.
    """

    def __init__(self, seed: int, ground: float = 0.0) -> None:
        self.chance = np.random.default_rng(seed)
        axis = np.linspace(-1, 1, SIDE, dtype=np.float32)
        self.y, self.x = np.meshgrid(axis, axis, indexing="ij")
        self.light: Field = np.full((SIDE, SIDE), ground, np.float32)

    def between(self, low: float, high: float) -> float:
        return float(self.chance.uniform(low, high))

    def fill(self, tone: float) -> None:
        self.light = np.full((SIDE, SIDE), tone, np.float32)

    def field(self, cycles: float, slope: float = 2.0, stretch: float = 1.0) -> Field:
        """Return Gaussian noise of unit variance whose spectrum falls by this power above `cycles` a picture.

        stretch: how much longer its features are across than down; below 1 the other way round.
        """
        rows, columns = np.fft.fftfreq(SIDE, 1 / SIDE)[:, None], np.fft.rfftfreq(SIDE, 1 / SIDE)
        distance = np.hypot(rows / math.sqrt(stretch), columns * math.sqrt(stretch))
        gain = (1 + (distance / cycles) ** 2) ** (-slope / 2)
        gain[0, 0] = 0
        spectrum = gain * np.fft.rfft2(self.chance.standard_normal((SIDE, SIDE), np.float32))
        made = np.fft.irfft2(spectrum, s=(SIDE, SIDE))
        return np.asarray(made / made.std(), np.float32)

    def turned(self, degrees: float) -> tuple[Field, Field]:
        """Return coordinates that are turned by up to this angle in either direction."""
        angle = math.radians(self.between(-degrees, degrees))
        return (
            self.x * math.cos(angle) + self.y * math.sin(angle),
            self.y * math.cos(angle) - self.x * math.sin(angle),
        )

    def mask(self, shapes: list[Points], blur: float = 0.0) -> Field:
        """Return how much of each pixel is inside any of these polygons, 0 to 1; `blur` in pixels."""
        picture = Image.new("L", (SIDE, SIDE))
        pen = ImageDraw.Draw(picture)
        for shape in shapes:
            pen.polygon([pixel(point) for point in shape], fill=255)
        return _read(picture, blur)

    def strokes(self, lines: list[Points], width: float, blur: float = 0.0) -> Field:
        """Return how much of each pixel is on any of these lines; `width` and `blur` in pixels."""
        picture = Image.new("L", (SIDE, SIDE))
        pen = ImageDraw.Draw(picture)
        for line in lines:
            pen.line([pixel(point) for point in line], fill=255, width=max(1, round(width)), joint="curve")
        return _read(picture, blur)

    def cover(self, mask: Field, tone: float | Field) -> None:
        """Paint a tone over the picture where the mask is 1."""
        self.light = self.light * (1 - mask) + tone * mask

    def finish(self) -> Field:
        """Return the picture (SIDE / SHRINK, SIDE / SHRINK), clipped to 0 to 1."""
        side = SIDE // SHRINK
        return self.light.clip(0, 1).reshape(side, SHRINK, side, SHRINK).mean(axis=(1, 3)).astype(np.float32)


def pixel(point: tuple[float, float]) -> tuple[float, float]:
    """Return the pixel of a point from -1 to 1."""
    return (point[0] + 1) * SIDE / 2, (point[1] + 1) * SIDE / 2


def circle(x: float, y: float, width: float, height: float, angle: float = 0.0) -> Points:
    """Return an ellipse with these half axes as a polygon; `angle` in radians."""
    turns = [math.tau * n / 28 for n in range(28)]
    along = [(width * math.cos(turn), height * math.sin(turn)) for turn in turns]
    return [
        (x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle))
        for a, b in along
    ]


def soften(field: Field, pixels: float) -> Field:
    """Blur a field (Gaussian, standard deviation in pixels)."""
    return _read(Image.fromarray((field.clip(0, 1) * 255).astype(np.uint8)), pixels)


def rise(field: Field, width: float) -> Field:
    """Return 0 below 0, 1 above `width`, a straight line between."""
    return (field / width).clip(0, 1)


def _read(picture: Image.Image, blur: float) -> Field:
    blurred = picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture
    return np.asarray(blurred, np.float32) / 255
