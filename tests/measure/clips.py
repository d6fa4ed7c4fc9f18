"""Clips whose motion is known: scenes that are drawn from formulas, at any position between pixels.

Four clips, each with one real change in the middle: a slow pan, a shaking still and an object that turns, where a lamp
lights up, and a cut to another scene. A camera's noise lies over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.frame import Pixels

Plane = NDArray[np.float64]

SIDE = 256  # width and height of all clips
BEFORE, AFTER = 12, 12  # frames before the change, and from it on
NOISE = 1.5  # standard deviation of the camera's noise, in levels of 255
PAN = 0.7, 0.3  # pixels a frame
SHAKE = 1.0  # largest shift of the shaking still, in pixels
TURN = math.radians(2.5)  # of the turning object, a frame
_CENTRE = SIDE / 2
_HALF_OBJECT = 58.0  # half the side of the turning object, in pixels
_LAMP = 64.0, 60.0, 26.0  # x, y and radius in pixels


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        name: Its name.
        frames: With the change at frame BEFORE, uint8 (SIDE, SIDE, 4) each.
        unchanged: The frames from BEFORE on, as they would be without the change.
        flows: Of frame i: where each pixel was in frame i - 1, float32 (2, SIDE, SIDE), in pixels.
        visible: Of frame i: which pixels frame i - 1 shows too, bool (SIDE, SIDE).
    """

    name: str
    frames: tuple[Pixels, ...]
    unchanged: tuple[Pixels, ...]
    flows: tuple[NDArray[np.float32], ...]
    visible: tuple[NDArray[np.bool_], ...]


def clips() -> list[Clip]:
    """Draw all clips. The same ones each time."""
    return [_moving("slow pan", lambda i: (PAN[0] * i, PAN[1] * i)), _moving("shaking still", _shaken), _turning(),
            _moving("cut", lambda i: (0.5 * PAN[0] * i, 0.0), is_cut=True)]


def _moving(name: str, offset: Callable[[int], tuple[float, float]], is_cut: bool = False) -> Clip:
    """A clip whose whole scene moves: frame i shows what lies `offset(i)` further in the scene."""
    x, y = _grid()

    def draw(number: int, changed: bool) -> Pixels:
        dx, dy = offset(number)
        seed = 7 if is_cut and changed else 3
        return _pixels(_scene(x + dx, y + dy, seed, lamp=changed and not is_cut), number)

    def flow(number: int) -> NDArray[np.float32]:
        (x1, y1), (x0, y0) = offset(number), offset(number - 1)
        return np.broadcast_to(np.array([x1 - x0, y1 - y0], np.float32)[:, None, None], (2, SIDE, SIDE))

    everywhere = np.ones((SIDE, SIDE), bool)
    return _clip(name, draw, flow, lambda number: everywhere)


def _turning() -> Clip:
    """A square that turns in front of a still background."""
    x, y = _grid()

    def turned(number: int) -> tuple[Plane, Plane]:
        return _rotate(x, y, TURN * number)

    def cover(number: int) -> Plane:
        u, v = turned(number)
        return _soft(_HALF_OBJECT - np.maximum(abs(u - _CENTRE), abs(v - _CENTRE)))

    def draw(number: int, changed: bool) -> Pixels:
        back, front = _scene(x, y, 3, lamp=changed), _scene(*turned(number), 11, lamp=False)
        share = cover(number)[..., None]
        return _pixels(back * (1 - share) + front * share, number)

    def flow(number: int) -> NDArray[np.float32]:
        u, v = _rotate(x, y, TURN)  # the pixel was, one frame ago, one turn back
        return np.stack(((u - x), (v - y))).astype(np.float32) * (cover(number) > 0.5)

    def visible(number: int) -> NDArray[np.bool_]:
        now, before = cover(number), cover(number - 1)
        moved = _soft(_HALF_OBJECT - 2.0 - np.maximum(abs(turned(number)[0] - _CENTRE),
                                                      abs(turned(number)[1] - _CENTRE)))
        return (moved > 0.5) | ((now < 0.01) & (before < 0.01))

    return _clip("turning object", draw, flow, visible)


def _clip(name: str, draw: Callable[[int, bool], Pixels], flow: Callable[[int], NDArray[np.float32]],
          visible: Callable[[int], NDArray[np.bool_]]) -> Clip:
    count = BEFORE + AFTER
    return Clip(name, tuple(draw(i, i >= BEFORE) for i in range(count)),
                tuple(draw(i, False) for i in range(BEFORE, count)),
                tuple(flow(i) for i in range(count)), tuple(visible(i) for i in range(count)))


@cache
def _shaken(number: int) -> tuple[float, float]:
    x, y = np.random.default_rng(1000 + number).uniform(-SHAKE, SHAKE, 2)
    return float(x), float(y)


def _grid() -> tuple[Plane, Plane]:
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64) + 0.5
    return x, y


def _rotate(x: Plane, y: Plane, angle: float) -> tuple[Plane, Plane]:
    """Turn positions around the centre."""
    dx, dy = x - _CENTRE, y - _CENTRE
    return (_CENTRE + math.cos(angle) * dx + math.sin(angle) * dy,
            _CENTRE - math.sin(angle) * dx + math.cos(angle) * dy)


def _scene(x: Plane, y: Plane, seed: int, lamp: bool) -> Plane:
    """Colours at positions in pixels, (h, w, 3) from 0 to 255: hills of colour, grain, and discs in front of them."""
    random = np.random.default_rng(seed)
    image = np.full((*x.shape, 3), random.uniform(70, 150, 3))
    for wavelength, height in ((160, 30), (90, 22), (40, 14), (18, 9), (9, 6)):
        for _ in range(3):
            angle, phase = random.uniform(0, math.tau, 2)
            wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * math.tau / wavelength + phase)
            image += wave[..., None] * height * (random.normal() + 0.4 * random.normal(0, 1, 3))
    for _ in range(14):
        centre, radius = random.uniform(-20, SIDE + 20, 2), random.uniform(10, 38)
        share = _soft(radius - np.hypot(x - centre[0], y - centre[1]))[..., None]
        stripes = np.sin((x - y * random.uniform(-1, 1)) * math.tau / random.uniform(7, 16))[..., None]
        image = image * (1 - share) + share * (random.uniform(20, 235, 3) + 22 * stripes)
    if lamp:
        share = _soft((_LAMP[2] - np.hypot(x - _LAMP[0], y - _LAMP[1])) / 3)[..., None]
        image = image * (1 - share) + share * np.array([255.0, 236.0, 150.0])
    return image


def _soft(distance: Plane) -> Plane:
    """Coverage of a pixel, from the distance of its centre to an edge (positive inside)."""
    covered: Plane = np.clip(distance + 0.5, 0.0, 1.0)
    return covered


def _pixels(image: Plane, number: int) -> Pixels:
    noisy = image + np.random.default_rng(number).normal(0, NOISE, image.shape)
    pixels = np.full((SIDE, SIDE, 4), 255, np.uint8)
    pixels[..., :3] = np.clip(np.round(noisy), 0, 255)
    return pixels

