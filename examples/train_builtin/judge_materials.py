"""The judge's painters of materials and scenes: each draws one subject on a Sheet, different at every seed."""

from __future__ import annotations

import itertools
import math

import numpy as np

from examples.train_builtin.judge_sheet import Field, Points, Sheet, circle, rise, soften


def draw_fire(sheet: Sheet) -> None:
    """Tongues with pointed tips over a bright base."""
    base = sheet.between(0.5, 1.0)
    tones = np.linspace(0.35, 1.0, 4)
    for layer, tone in enumerate(tones):
        tongues = [_tongue(sheet, base, 1 - 0.2 * layer) for _ in range(int(sheet.between(5, 10)))]
        mask = sheet.mask(tongues, sheet.between(2, 5))
        sheet.cover(_sway(sheet, mask), float(tone))
    sheet.cover(rise(sheet.y - base + 0.35 + 0.12 * sheet.field(3), 0.5), 0.95)
    sheet.light = sheet.light * (1 + 0.12 * sheet.field(5, 2, 0.4))


def _tongue(sheet: Sheet, base: float, size: float) -> Points:
    x, width = sheet.between(-1, 1), sheet.between(0.1, 0.3) * size
    height, lean = sheet.between(0.7, 1.7) * size, sheet.between(-0.25, 0.25)
    steps = np.linspace(0, 1, 14)
    bulge = width * np.sqrt(steps) * (1 - steps) ** 0.8 * 2.2 + width * (1 - steps) * 0.5
    spine = x + lean * steps**2 + 0.06 * np.sin(steps * 7 + x * 9)
    left = list(zip(spine - bulge, base + 0.2 - height * steps, strict=True))
    right = list(zip(spine + bulge, base + 0.2 - height * steps, strict=True))
    return left + right[::-1]


def _sway(sheet: Sheet, mask: Field) -> Field:
    """Move each row and pixel of a mask sideways by a smooth random field."""
    shift = (sheet.field(2, 3) * sheet.between(2, 6)).astype(int)
    rows, columns = np.indices(mask.shape)
    return mask[rows, (columns + shift).clip(0, mask.shape[1] - 1)]


def draw_ocean(sheet: Sheet) -> None:
    """Wave crests across, smaller with the distance, with foam."""
    tilt = sheet.y + 0.08 * sheet.between(-1, 1) * sheet.x
    depth = 1 / (sheet.between(1.15, 2.2) - tilt)
    height = np.zeros_like(sheet.x)
    for _ in range(5):
        pace, lean = sheet.between(4, 13), sheet.between(-1.5, 1.5)
        height += np.sin(pace / depth * 2.2 + lean * sheet.x / depth + 1.3 * sheet.field(2, 3, 3)) * 4 / pace
    height += 0.25 * sheet.field(8, 2, 4)
    crest = rise(height - sheet.between(0.5, 0.9), 0.7) ** 1.5
    sheet.light = 0.35 + 0.12 * height + 0.5 * crest + 0.04 * sheet.field(25, 1, 3)


def draw_lava(sheet: Sheet) -> None:
    """Dark plates of rock with glowing gaps of varying width."""
    gap, number = plates(sheet, int(sheet.between(8, 34)), sheet.between(0.04, 0.14))
    heat = sheet.between(0.05, 0.12) * (1 + 0.4 * sheet.field(2))
    glow = np.exp(-gap / np.maximum(heat, 0.02))
    rock = 0.08 + 0.12 * number + 0.05 * sheet.field(12, 1.5)
    sheet.light = np.maximum(rock, 0) * (1 - glow) + glow * 1.05


def plates(sheet: Sheet, count: int, warp: float) -> tuple[Field, Field]:
    """Return the distance to the border of the nearest of `count` random plates, and the plate's number from 0 to 1."""
    spots = sheet.chance.uniform(-1.15, 1.15, (count, 2))
    for _ in range(2):  # two rounds of pushing apart, so that the plates are of similar sizes
        away = spots[:, None] - spots[None]
        near = np.exp(-(away**2).sum(-1) * count / 4)[..., None]
        spots = (spots + 0.25 * (away * near).sum(1) / math.sqrt(count)).clip(-1.3, 1.3)
    x, y = sheet.x + warp * sheet.field(4, 2.5), sheet.y + warp * sheet.field(4, 2.5)
    far = np.hypot(x[..., None] - spots[:, 0], y[..., None] - spots[:, 1])
    order = np.partition(far, 1, axis=-1)
    tones = sheet.chance.permutation(np.linspace(0, 1, count))
    return (order[..., 1] - order[..., 0]).astype(np.float32), tones[far.argmin(-1)].astype(np.float32)


def draw_clouds(sheet: Sheet) -> None:
    """Soft heaps of round puffs, lit from above, before an even sky; or a closed cover."""
    sky = sheet.between(0.2, 0.55)
    sheet.fill(sky)
    sheet.light += sheet.between(-0.1, 0.1) * sheet.y
    cover = 0.5 + sheet.between(0.25, 0.45) * sheet.field(sheet.between(1.5, 3), sheet.between(2, 2.6), 1.6)
    for _ in range(int(sheet.between(0, 5))):
        x, y = sheet.between(-0.9, 0.9), sheet.between(-0.8, 0.8)
        puffs = [_puff(sheet, x, y) for _ in range(24)]
        cover = np.maximum(cover, sheet.mask(puffs, 7) * (0.8 + 0.15 * sheet.field(6, 1.8)))
    shade = np.roll(soften(cover, 6), 8, axis=0)
    cover = rise(cover - sheet.between(0.1, 0.4), sheet.between(0.5, 0.9))
    sheet.cover(cover, 0.95 - 0.35 * shade * (1 - cover) + 0.03 * sheet.field(6))


def _puff(sheet: Sheet, x: float, y: float) -> Points:
    size = sheet.between(0.06, 0.2)
    return circle(x + sheet.between(-0.35, 0.35), y + sheet.between(-0.12, 0.12), size, size * 0.8)


def draw_marble(sheet: Sheet) -> None:
    """Pale stone with dark, thin veins that branch along one direction."""
    sheet.fill(sheet.between(0.75, 0.95))
    sheet.light += 0.06 * sheet.field(2, 2.5)
    heading = sheet.between(0, math.pi)
    for width, count, tone in ((6, 4, 0.5), (2.5, 9, 0.25), (1, 14, 0.45)):
        veins = [_vein(sheet, heading) for _ in range(int(sheet.between(0.5, 1.2) * count))]
        mask = sheet.strokes(veins, width * sheet.between(0.8, 1.6), width * 0.5)
        sheet.cover(mask * (0.75 + 0.2 * sheet.field(3)).clip(0.2, 1), tone * sheet.between(0.5, 1.0))


def _vein(sheet: Sheet, heading: float) -> Points:
    x, y = sheet.between(-1.3, 1.3), sheet.between(-1.3, 1.3)
    turn = heading + sheet.between(-0.4, 0.4) + math.pi * (sheet.chance.random() < 0.5)
    path = [(x, y)]
    for _ in range(46):
        turn += sheet.chance.normal() * 0.28 + 0.1 * (heading - turn % math.pi if abs(heading - turn) > 1 else 0)
        x, y = x + 0.05 * math.cos(turn), y + 0.05 * math.sin(turn)
        path.append((x, y))
    return path


def draw_stars(sheet: Sheet) -> None:
    """Points of light of many sizes on a dark sky, some with rays, with a nebula."""
    sheet.light = np.maximum(sheet.between(0.03, 0.12) + sheet.between(0.03, 0.1) * sheet.field(2, 2.4), 0)
    for _ in range(int(sheet.between(14, 60))):
        x, y = sheet.x - sheet.between(-1, 1), sheet.y - sheet.between(-1, 1)
        size = 0.02 + 0.09 * sheet.chance.random() ** 2
        star = np.exp(-(x**2 + y**2) / size**2)
        if sheet.chance.random() < 0.5:
            ray = np.exp(-np.minimum(np.abs(x), np.abs(y)) / (0.2 * size)) * np.exp(-np.hypot(x, y) / (2 * size))
            star = np.maximum(star, ray)
        sheet.light = np.maximum(sheet.light, star * sheet.between(0.6, 1.1))


def draw_lightning(sheet: Sheet) -> None:
    """One to three jagged bolts with branches on a dark sky."""
    sheet.light = 0.1 + 0.04 * sheet.field(2, 2.5)
    bolts: list[Points] = []
    twigs: list[Points] = []
    for _ in range(int(sheet.between(1, 4))):
        start, end = (sheet.between(-0.9, 0.9), -1.1), (sheet.between(-0.9, 0.9), sheet.between(0.6, 1.2))
        bolt = _jagged(sheet, start, end, sheet.between(0.1, 0.22))
        bolts.append(bolt)
        for _ in range(int(sheet.between(1, 5))):
            x, y = bolt[int(sheet.between(3, len(bolt) - 3))]
            twigs.append(_jagged(sheet, (x, y), (x + sheet.between(-0.6, 0.6), y + sheet.between(0.2, 0.7)), 0.15))
    sheet.light += 0.5 * sheet.strokes(bolts, 7, 8)
    sheet.cover(sheet.strokes(twigs, 1.5, 0.8), 0.8)
    sheet.cover(sheet.strokes(bolts, sheet.between(2, 5), 0.8), 1.0)


def _jagged(sheet: Sheet, start: tuple[float, float], end: tuple[float, float], rough: float) -> Points:
    """Return a line whose middles are moved aside again and again, by less each time."""
    points = [np.asarray(start), np.asarray(end)]
    for _ in range(5):
        middles = [(a + b) / 2 + sheet.chance.normal(size=2) * rough * np.hypot(*(b - a))
                   for a, b in itertools.pairwise(points)]
        points = [point for pair in zip(points, middles, strict=False) for point in pair] + [points[-1]]
    return [(float(x), float(y)) for x, y in points]


def draw_wood(sheet: Sheet) -> None:
    """Upright grain of uneven lines that bend around knots; sometimes seams between planks."""
    x = sheet.x + 0.1 * sheet.field(1.5, 3, 0.15)
    for _ in range(int(sheet.between(0, 4))):
        knot_x, knot_y = sheet.between(-0.9, 0.9), sheet.between(-0.9, 0.9)
        reach = sheet.between(0.08, 0.3)
        distance = np.hypot(sheet.x - knot_x, (sheet.y - knot_y) * 0.45)
        x = x + np.sign(sheet.x - knot_x) * reach * np.exp(-((distance / reach) ** 2)) * 0.8
    grain = np.sin(x * sheet.between(14, 40) + 0.8 * sheet.field(2, 2.5, 0.1))
    sheet.light = 0.5 + 0.22 * grain + 0.08 * sheet.field(9, 1.2, 0.04)
    if sheet.chance.random() < 0.4:
        planks = sheet.between(1.2, 3)
        sheet.light *= 1 - 0.7 * (np.abs((sheet.x * planks) % 1 - 0.5) < 0.02 * planks)


def draw_forest(sheet: Sheet) -> None:
    """Dark trunks that become thinner upwards, with branches, darker the nearer, in a pale mist; dark ground."""
    sheet.light = sheet.between(0.75, 0.95) - 0.15 * sheet.y + 0.04 * sheet.field(2)
    for depth, tone in enumerate((0.62, 0.4, 0.12)):
        count, width = int(sheet.between(3, 8) * (1.4 - 0.35 * depth)), 0.03 + 0.025 * depth
        foot = sheet.between(0.5, 0.7) + 0.15 * depth
        trunks, twigs = [], []
        for _ in range(max(count, 2)):
            x, lean, half = sheet.between(-1, 1), sheet.between(-0.1, 0.1), width * sheet.between(0.7, 1.5)
            trunks.append([(x - half, foot + 0.1), (x + half, foot + 0.1), (x + lean + half / 2, -1.1),
                           (x + lean - half / 2, -1.1)])
            for _ in range(int(sheet.between(0, 4))):
                y, side = sheet.between(-1, 0.2), sheet.between(-0.35, 0.35)
                twigs.append([(x + lean * (1 - y) / 2, y), (x + side, y - abs(side) * 0.8)])
        sheet.cover(np.maximum(sheet.mask(trunks, 0.8), sheet.strokes(twigs, 2 + depth, 0.6)), tone)
        sheet.cover(rise(sheet.y - foot + 0.03 * sheet.field(8, 1.5, 2), 0.05), tone * 0.9)


def draw_mountains(sheet: Sheet) -> None:
    """Jagged ridges behind each other, darker the nearer, below a bright sky."""
    sheet.light = sheet.between(0.8, 1.0) - sheet.between(0, 0.15) * (sheet.y + 1)
    layers = int(sheet.between(2, 6))
    for layer in range(layers):
        share = (layer + 1) / layers
        base = -0.5 + 1.3 * share + sheet.between(-0.1, 0.1)
        ridge = _jagged(sheet, (-1.1, base), (1.1, base), sheet.between(0.08, 0.16))
        ridge = [(x, base + (y - base) * 1.3) for x, y in ridge]
        sheet.cover(sheet.mask([[*ridge, (1.1, 1.2), (-1.1, 1.2)]], 0.6), 0.8 - 0.7 * share + 0.03 * sheet.field(6))


def draw_flowers(sheet: Sheet) -> None:
    """Blossoms of five to nine petals around a heart, some over others, on a dark ground."""
    sheet.light = sheet.between(0.08, 0.25) + 0.05 * sheet.field(5)
    size = sheet.between(0.25, 0.6)
    for _ in range(min(16, int(2.2 / size**2))):
        x, y, reach = sheet.between(-1, 1), sheet.between(-1, 1), size * sheet.between(0.7, 1.2)
        petals, turn = int(sheet.between(5, 9)), sheet.between(0, 3)
        tone = sheet.between(0.65, 1.0)
        for n in range(petals):
            angle = turn + math.tau * n / petals
            where = x + 0.58 * reach * math.cos(angle), y + 0.58 * reach * math.sin(angle)
            mask = sheet.mask([circle(*where, 0.45 * reach, 1.35 * reach / petals, angle)], 0.7)
            shade = tone * (0.55 + 0.5 * np.hypot(sheet.x - x, sheet.y - y) / reach)
            sheet.cover(mask, shade.astype(np.float32))
            sheet.cover(soften(mask, 1.5) * (1 - mask) * 0.5, 0.15)
        heart = sheet.between(0.18, 0.3) * reach
        sheet.cover(sheet.mask([circle(x, y, heart, heart)], 0.8), float(sheet.chance.choice((0.15, 0.3, 1.0))))


def draw_crystal(sheet: Sheet) -> None:
    """Facets: flat faces in slanted triangles, each with its own shade and slope, with bright or dark edges."""
    spots = sheet.chance.uniform(-1.2, 1.2, (int(sheet.between(10, 36)), 2))
    far = np.abs(sheet.x[..., None] - spots[:, 0]) * sheet.chance.uniform(0.5, 1.5, len(spots))
    far = far + np.abs(sheet.y[..., None] - spots[:, 1]) + 0.6 * (sheet.x[..., None] - spots[:, 0])
    order = np.sort(far, axis=-1)
    which = far.argmin(-1)
    slopes = sheet.chance.normal(size=(2, len(spots))) * 0.45
    tone = sheet.chance.uniform(0.2, 0.85, len(spots))[which]
    dx, dy = sheet.x - spots[which, 0], sheet.y - spots[which, 1]
    sheet.light = (tone + slopes[0][which] * dx + slopes[1][which] * dy).astype(np.float32)
    edge = np.exp(-(order[..., 1] - order[..., 0]) * 30)
    sheet.light += (edge * float(sheet.chance.choice((0.35, 0.35, 0.0, -0.2)))).astype(np.float32)


def draw_stained_glass(sheet: Sheet) -> None:
    """Flat panes of unlike tones between dark lead lines."""
    gap, number = plates(sheet, int(sheet.between(9, 40)), sheet.between(0.0, 0.02))
    sheet.light = 0.25 + 0.75 * number
    if sheet.chance.random() < 0.3:  # a rose window: panes by angle and radius
        rings, parts = sheet.between(1.5, 3), int(sheet.between(6, 12))
        radius, angle = np.hypot(sheet.x, sheet.y) * rings, np.arctan2(sheet.y, sheet.x) / math.tau * parts
        tones = sheet.chance.uniform(0.25, 1, (8, parts + 1))
        sheet.light = tones[radius.astype(int), (angle % parts).astype(int)].astype(np.float32)
        round_gap = np.minimum(np.abs(radius - radius.round()), np.abs(angle - angle.round()) * radius / rings)
        gap = (round_gap / rings * 2).astype(np.float32)
    sheet.light *= rise(gap - sheet.between(0.02, 0.045), 0.02)


def draw_sunset(sheet: Sheet) -> None:
    """A bright disc above a horizon, an even sky, dark water with a glittering track."""
    horizon, x = sheet.between(0.0, 0.5), sheet.between(-0.6, 0.6)
    size = sheet.between(0.15, 0.45)
    up = sheet.between(-0.2, 0.6) * size
    distance = np.hypot(sheet.x - x, sheet.y - horizon + up)
    sky = 0.25 + 0.25 * np.exp(-np.abs(sheet.y - horizon)) + 0.25 * np.exp(-distance * 2) + 0.04 * sheet.field(4, 2, 5)
    sheet.light = np.maximum(sky, rise(size - distance, 0.02)).astype(np.float32)
    glitter = sheet.field(14, 1.5, 5) > 0.1
    track = np.exp(-(((sheet.x - x) / (0.12 + 0.4 * (sheet.y - horizon).clip(0))) ** 2)) * (0.35 + 0.5 * glitter)
    water = sheet.between(0.06, 0.2) + 0.05 * sheet.field(10, 1.5, 6) + track
    sheet.cover(rise(sheet.y - horizon, 0.015), water.astype(np.float32))
    if sheet.chance.random() < 0.25:
        hill = _jagged(sheet, (-1.1, horizon), (1.1, horizon), 0.05)
        sheet.cover(sheet.mask([[*hill, (1.1, horizon), (-1.1, horizon)]], 0.5), 0.1)
