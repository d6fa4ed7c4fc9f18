"""The procedural painter: subjects as brightness fields, coloured with a colour's ramp and drawn in a style.

A painter returns brightness (images, size, size) from 0 to 1. It has few degrees of freedom and hard contrast, so that
a small model can learn it from some hundred thousand samples. Geometry is upright at a fixed position, CELLS across: at
256 pixels, its lines fall on those of the denoiser's coarsest level (64 pixels). Only the light on it differs from
image to image.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from examples.train_builtin.noise import Noise, scatter, smooth
from examples.train_builtin.words import COLOURS, SUBJECTS

CELLS = 4


def light_up(noise: Noise, pattern: Tensor) -> Tensor:
    """Return the pattern under a light that varies over the image."""
    return pattern * (0.7 + 0.3 * smooth(noise.clouds((2, 2), 3), -1.5, 1.5))


def paint_fire(noise: Noise) -> Tensor:
    sway = 0.06 * noise.clouds((6, 3), 3)
    flame = noise.clouds((2, 6), 5, 0.55)
    height = noise.y + sway + 0.22 * flame
    return smooth(height, 0.25, 1.25) * 1.15


def paint_ocean(noise: Noise) -> Tensor:
    depth = 0.15 + noise.y
    swell = noise.clouds((10, 3), 4)
    phase = 11 * 2 * math.pi * depth.sqrt() + 0.9 * swell
    broken = smooth(noise.clouds((10, 5), 3), -0.7, 0.5)  # a crest ends somewhere; a stripe does not
    crest = (0.5 + 0.5 * phase.sin()).pow(2.5) * broken
    return 0.2 + 0.1 * phase.sin() + 0.7 * crest + 0.06 * noise.clouds((16, 5), 3)


def paint_lava(noise: Noise) -> Tensor:
    warp = 0.4 * noise.clouds((4, 4), 2)
    nearest, second, number, _, _ = noise.cells(noise.x * 3 + warp, noise.y * 3 + 0.6 * warp.flip(1), 0.8)
    crack = torch.exp(-(second - nearest) * 7)
    return crack + 0.12 * number + 0.03 * noise.clouds((16, 16), 3)


def paint_clouds(noise: Noise) -> Tensor:
    billow = noise.clouds((6, 3), 5, 0.55)  # wider than high
    down = noise.size // 32
    lit = billow - F.pad(billow[:, None], (0, 0, down, 0), mode="replicate")[:, 0, : noise.size]  # from above
    cover = smooth(billow, -0.5, 1.2)
    return (0.3 + 0.12 * noise.y) * (1 - cover) + cover * (0.85 + 0.1 * lit)


def paint_marble(noise: Noise) -> Tensor:
    along = (noise.x + 0.6 * noise.y) * 2 * math.pi
    veins = [(along * pace + 1.2 * noise.clouds((3, 3), 4)).sin().abs() / pace for pace in (1, 1.7)]
    fade = (0.35 + 0.25 * noise.clouds((2, 2), 2)).clamp(min=0)
    return 0.92 - 0.7 * torch.exp(-veins[0] * 14) - fade * torch.exp(-veins[1] * 30) + 0.05 * noise.clouds((3, 3), 3)


def paint_stars(noise: Noise) -> Tensor:
    nebula = 0.16 + 0.07 * noise.clouds((3, 3), 4)
    _, _, number, dx, dy = noise.cells(noise.x * CELLS, noise.y * CELLS, 0.9)
    reach = 0.05 + 0.13 * number.square()
    core = torch.exp(-(dx.square() + dy.square()) / reach.square())
    rays = torch.exp(-(dx * dy).abs() / (0.10 * reach.square())) * torch.exp(-torch.hypot(dx, dy) / (1.8 * reach))
    return nebula + (1.1 * core + rays) * (number > 0.2)


def paint_lightning(noise: Noise) -> Tensor:
    light = 0.06 + 0.03 * noise.clouds((3, 3), 3)
    for place in (0.3, 0.7):
        path = noise.clouds((4, 1), 5, 0.6).mean(dim=2, keepdim=True)
        gap = (noise.x - place - 0.08 * path / path.std(dim=1, keepdim=True)).abs()
        light = light + torch.exp(-gap / 0.018) + 0.3 * torch.exp(-gap / 0.08)
    return light


def paint_neon_grid(noise: Noise) -> Tensor:
    horizon = 0.5
    depth = (noise.y - horizon).clamp(min=0.02)
    across = edge_gap((noise.x - 0.5) / depth * 3) * depth / 3
    along = edge_gap(1.5 / depth) * depth.square() / 1.5
    lines = 1 - smooth(torch.minimum(across, along), 0.006, 0.016)
    floor = 0.08 + 0.9 * lines * smooth(depth, 0.04, 0.16) + 0.5 * torch.exp(-depth / 0.05)
    distance = torch.hypot(noise.x - 0.5, noise.y - horizon + 0.14)
    bands = ((noise.y - horizon) * 26).sin() > -0.5
    sun = smooth(0.2 - distance, -0.008, 0.008) * bands
    sky = 0.06 + 0.25 * (noise.y / horizon).pow(3) + 0.9 * sun
    return light_up(noise, torch.where(noise.y > horizon, floor, sky))


def paint_checker(noise: Noise) -> Tensor:
    wave = (noise.x * 2 * CELLS * math.pi).sin() * (noise.y * 2 * CELLS * math.pi).sin()
    return light_up(noise, 0.08 + 0.92 * smooth(wave, -0.06, 0.06))


def paint_stripes(noise: Noise) -> Tensor:
    return light_up(noise, 0.08 + 0.92 * smooth((noise.x * CELLS * 2 * math.pi).sin(), -0.15, 0.15))


def paint_grid(noise: Noise) -> Tensor:
    gap = torch.minimum(edge_gap(noise.x * CELLS + 0.5), edge_gap(noise.y * CELLS + 0.5))
    return light_up(noise, 0.08 + 0.92 * (1 - smooth(gap, 0.06, 0.11)))


def edge_gap(x: Tensor) -> Tensor:
    """Return the distance to the nearest whole number."""
    return (x - x.round()).abs()


def paint_honeycomb(noise: Noise) -> Tensor:
    x, y = noise.x * CELLS, noise.y * CELLS / 2  # slightly taller than regular hexagons, to fit the lattice
    first = hexagon_gap(x - x.round(), (y - y.round()) * math.sqrt(3))
    x, y = x - 0.5, y - 0.5
    second = hexagon_gap(x - x.round(), (y - y.round()) * math.sqrt(3))
    depth = 0.5 - torch.minimum(first, second)
    return light_up(noise, 0.04 + 0.66 * smooth(depth, 0.05, 0.12) + 0.3 * smooth(depth, 0.1, 0.5))


def hexagon_gap(x: Tensor, y: Tensor) -> Tensor:
    """Return the hexagonal distance from the centre of a cell: 0.5 on its edges."""
    x, y = x.abs(), y.abs()
    return torch.maximum(x, 0.5 * x + math.sqrt(3) / 2 * y)


def paint_bricks(noise: Noise) -> Tensor:
    y = noise.y * 2 * CELLS
    x = noise.x * CELLS + 0.5 * (y.floor() % 2)
    gap = torch.minimum(2 * edge_gap(x), edge_gap(y))
    tone = scatter(x.floor(), y.floor(), noise.uniform(0, 100))
    return light_up(noise, 0.03 + smooth(gap, 0.08, 0.16) * (0.62 + 0.3 * tone))


def paint_stained_glass(noise: Noise) -> Tensor:
    nearest, second, number, _, _ = noise.cells(noise.x * CELLS, noise.y * CELLS, 0.95)
    return smooth(second - nearest, 0.1, 0.2) * (0.3 + 0.7 * number)


def paint_ripples(noise: Noise) -> Tensor:
    radius = torch.hypot(noise.x - 0.5, noise.y - 0.5)
    return light_up(noise, 0.45 + 0.5 * (radius * 7 * 2 * math.pi).cos() * torch.exp(-1.2 * radius))


def paint_wood(noise: Noise) -> Tensor:
    x, y = noise.centred(0.3)
    knot = torch.exp(-(x.square() * 30 + y.square() * 12))
    rings = 8 * (noise.x + 0.08 * noise.clouds((1, 3), 3) + 0.22 * knot) * 2 * math.pi
    uneven = 1.2 * noise.clouds((1, 6), 2)  # annual rings differ in width
    return 0.5 + 0.25 * (rings + uneven).sin() + 0.1 * noise.clouds((2, 40), 2)


def paint_forest(noise: Noise) -> Tensor:
    light = 0.92 - 0.25 * noise.y + 0.06 * noise.clouds((4, 4), 4)
    for layer, (count, tone) in enumerate(((8, 0.62), (4, 0.1))):
        x = noise.x * count + 0.06 * count * noise.clouds((2, 1), 2).mean(dim=2, keepdim=True)
        shift = 0.5 * (scatter(x.floor(), torch.zeros_like(x), noise.uniform(0, 100)) - 0.5)
        trunk = smooth((x - x.floor() - 0.5 + shift).abs(), 0.15, 0.19)
        light = light * trunk + tone * (1 - trunk)
        ground = smooth(noise.y + 0.015 * noise.clouds((4, 12), 3), 0.8 + 0.06 * layer, 0.84 + 0.06 * layer)
        light = light * (1 - ground) + (tone - 0.05) * ground
    return light


def paint_mountains(noise: Noise) -> Tensor:
    light = 0.95 - 0.15 * noise.y
    for base, tone in ((0.35, 0.72), (0.52, 0.5), (0.68, 0.3), (0.84, 0.1)):
        ridge = noise.clouds((1, 3), 6, 0.5)[:, :1]
        edge = base + 0.07 * ridge / ridge.std(dim=2, keepdim=True)
        rock = smooth(noise.y - edge, -0.004, 0.004)
        light = light * (1 - rock) + (tone + 0.25 * (noise.y - edge)).clamp(0, 1) * rock
    return light


def paint_flowers(noise: Noise) -> Tensor:
    nearest, _, number, dx, dy = noise.cells(noise.x * 2, noise.y * 2, 0.2)
    petals = 0.33 + 0.12 * (torch.atan2(dy, dx) * 5).cos()
    bloom = smooth(petals - nearest, -0.02, 0.02)
    heart = smooth(0.1 - nearest, -0.02, 0.02)
    shade = (0.6 + 0.4 * (nearest / petals)) * bloom * (0.75 + 0.25 * number)
    return (0.1 * (1 - bloom) + shade) * (1 - heart) + 0.2 * heart


def paint_dots(noise: Noise) -> Tensor:
    gap = torch.hypot(edge_gap(noise.x * CELLS + 0.5), edge_gap(noise.y * CELLS + 0.5))
    return light_up(noise, 0.08 + 0.92 * smooth(0.32 - gap, -0.03, 0.03))


def paint_zebra(noise: Noise) -> Tensor:
    wave = ((noise.y * CELLS + 0.55 * noise.clouds((3, 3), 1)) * 2 * math.pi).sin()
    return 0.06 + 0.9 * smooth(wave, -0.2, 0.2)


def paint_crystal(noise: Noise) -> Tensor:
    nearest, second, number, dx, dy = noise.cells(noise.x * 3, noise.y * 3, 0.8)
    angle = number * 40
    facet = dx * angle.cos() + dy * angle.sin()
    return 0.45 + 0.9 * facet + 0.4 * (number - 0.5) + 0.4 * torch.exp(-(second - nearest) * 25)


def paint_spiral(noise: Noise) -> Tensor:
    x, y = noise.x - 0.5, noise.y - 0.5
    radius = torch.hypot(x, y)
    arms = (torch.atan2(y, x) * 3 + 18 * (radius + 0.05).sqrt() + 0.15 * noise.clouds((3, 3), 2)).sin()
    return light_up(noise, 0.5 + 0.45 * smooth(arms, -0.7, 0.7) * 2 - 0.45 + 0.4 * torch.exp(-radius / 0.06))


def paint_sunset(noise: Noise) -> Tensor:
    horizon, centre = 0.625, noise.uniform(0.42, 0.58)
    distance = torch.hypot(noise.x - centre, noise.y - horizon + 0.08)
    sky = 0.25 + 0.3 * (noise.y / horizon).square() + 0.04 * noise.clouds((12, 3), 4)
    sky = torch.maximum(sky, smooth(0.19 - distance, -0.006, 0.006))
    wave = ((noise.y - horizon).clamp(min=0).sqrt() * 60 + 1.0 * noise.clouds((24, 5), 3)).sin()
    track = torch.exp(-((noise.x - centre) / (0.08 + 0.3 * (noise.y - horizon).clamp(min=0))).square())
    water = 0.1 + 0.06 * wave + track * (0.5 + 0.3 * wave)
    return torch.where(noise.y > horizon, water, sky)


def paint_tunnel(noise: Noise) -> Tensor:
    x, y = noise.x - 0.5, noise.y - 0.5
    radius = torch.hypot(x, y).clamp(min=0.02)
    tiles = smooth((radius.log2() * 2 * math.pi).sin() * (torch.atan2(y, x) * 4).sin(), -0.12, 0.12)
    return light_up(noise, (0.1 + 0.9 * tiles) * smooth(radius, 0.0, 0.25))


PAINTERS: dict[str, Callable[[Noise], Tensor]] = {
    "fire": paint_fire, "ocean": paint_ocean, "lava": paint_lava, "clouds": paint_clouds, "marble": paint_marble,
    "stars": paint_stars, "lightning": paint_lightning, "neon grid": paint_neon_grid, "checker": paint_checker,
    "stripes": paint_stripes, "grid": paint_grid, "honeycomb": paint_honeycomb, "bricks": paint_bricks,
    "stained glass": paint_stained_glass, "ripples": paint_ripples, "wood": paint_wood, "forest": paint_forest,
    "mountains": paint_mountains, "flowers": paint_flowers, "dots": paint_dots, "zebra": paint_zebra,
    "crystal": paint_crystal, "spiral": paint_spiral, "sunset": paint_sunset, "tunnel": paint_tunnel,
}  # fmt: skip


def paint_shapes(noise: Noise, shapes: int = 24) -> Tensor:
    """Draw dead leaves: shapes of many sizes that cover each other, like the brightness of an unknown photograph."""
    light = 0.5 + 0.2 * noise.clouds((2, 2), 4)
    for shape in range(shapes):
        x, y = noise.centred(0.6)
        size = noise.uniform(0.05, 0.5) * (1 - 0.6 * shape / shapes)
        angle, flat = noise.uniform(0, math.pi), noise.uniform(0.4, 1)
        along, across = x * angle.cos() + y * angle.sin(), (y * angle.cos() - x * angle.sin()) / flat
        box = torch.maximum(along.abs(), across.abs())
        inside = smooth(size - torch.where(noise.coin(0.5), box, torch.hypot(along, across)), -0.006, 0.006)
        tone = noise.uniform(0, 1) + noise.uniform(-0.6, 0.6) * along
        light = light * (1 - inside) + tone * inside
    return light


def blend_structure(texture: Tensor, structure: Tensor, share: Tensor) -> Tensor:
    """Lay the texture over the structure: its mean brightness follows the structure by `share` (count, 1, 1)."""
    return (texture - 0.5) * (1 - 0.6 * share) + 0.5 + (structure - 0.5) * share


def draw_style(style: str, light: Tensor) -> Tensor:
    return STYLES[style](light.clamp(0, 1))


def draw_pixels(light: Tensor) -> Tensor:
    small = F.avg_pool2d(light[:, None], 8)
    return F.interpolate(((small - 0.5) * 1.3 + 0.5).clamp(0, 1), scale_factor=8, mode="nearest")[:, 0]


def draw_halftone(light: Tensor) -> Tensor:
    size = light.shape[-1]
    even = F.interpolate(F.avg_pool2d(light[:, None], 8), size=(size, size), mode="bilinear")[:, 0]
    axis = (torch.arange(size) + 0.5) * math.pi / 8
    raster = 0.5 + 0.25 * (axis.cos()[:, None] + axis.cos())
    return 0.05 + 0.9 * smooth(even - raster, -0.14, 0.14)


def draw_lines(light: Tensor) -> Tensor:
    even = F.avg_pool2d(F.pad(light[:, None], (2, 2, 2, 2), mode="replicate"), 5, 1)[:, 0]
    across = F.pad(even[:, :, 2:] - even[:, :, :-2], (1, 1))
    down = F.pad(even[:, 2:] - even[:, :-2], (0, 0, 1, 1))
    edges = torch.hypot(across, down)
    return 0.95 - 0.75 * smooth(edges / (edges.amax(dim=(1, 2), keepdim=True) + 1e-3), 0.15, 0.5)


def draw_poster(light: Tensor) -> Tensor:
    even = F.avg_pool2d(F.pad(light[:, None], (2, 2, 2, 2), mode="replicate"), 5, 1)[:, 0]
    return 0.12 + 0.36 * smooth(even, 0.33, 0.37) + 0.42 * smooth(even, 0.63, 0.67)


def draw_glow(light: Tensor) -> Tensor:
    bright = light.pow(3)
    bloom = F.interpolate(F.avg_pool2d(bright[:, None], 8), size=light.shape[-2:], mode="bicubic")[:, 0]
    return bright * 0.85 + bloom * 0.35


STYLES: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda light: light,
    "pixel art": draw_pixels,
    "halftone": draw_halftone,
    "line art": draw_lines,
    "posterized": draw_poster,
    "glowing": draw_glow,
}


def ramp(colour: str) -> Tensor:
    """Return the colour's five stops (5, 3), sRGB from 0 to 1."""
    return torch.tensor([[int(stop[i : i + 2], 16) / 255 for i in (1, 3, 5)] for stop in COLOURS[colour].ramp])


def dye(light: Tensor, colour: str, noise: Noise) -> Tensor:
    """Map each brightness to its colour on the ramp: (count, 3, size, size) from 0 to 1.

    In a rainbow, the position sets the hue: bands of the ramp's stops, shaded by the brightness.
    """
    stops = ramp(colour)
    if colour != "rainbow":
        return look_up(stops, light.clamp(0, 1))
    angle = noise.uniform(0, 2 * math.pi)
    place = noise.x * angle.cos() + noise.y * angle.sin()
    hue = (place * noise.uniform(0.9, 1.4) + noise.uniform(0, 1) + 0.15 * noise.clouds((2, 2), 2)) % 1.0
    full = look_up(torch.cat([stops, stops[:1]]), hue)
    light = light.clamp(0, 1)[:, None]
    return full * (0.12 + 1.2 * light).clamp(max=1) + (1 - full) * (light - 0.75).clamp(min=0)


def look_up(stops: Tensor, value: Tensor) -> Tensor:
    """Interpolate linearly along evenly spaced stops: (..., size, size) -> (count, 3, size, size)."""
    place = value * (len(stops) - 1)
    low = place.floor().long().clamp(0, len(stops) - 2)
    share = (place - low)[..., None]
    return (stops[low] * (1 - share) + stops[low + 1] * share).permute(0, 3, 1, 2)


def paint(
    subject: str,
    colour: str,
    style: str,
    noise: Noise,
    structure: Tensor | None = None,
    blend: tuple[float, float] = (0.4, 0.8),
) -> Tensor:
    """Draw images of one subject, colour and style: (count, 3, size, size), float32 from 0 to 1.

    `structure` (count, size, size) from 0 to 1 is blended into the brightness by a share in the range `blend`.
    """
    if subject not in SUBJECTS:
        raise KeyError(f"no subject {subject!r}; known: {', '.join(SUBJECTS)}")
    light = PAINTERS[subject](noise)
    if structure is not None:
        light = blend_structure(light, structure, noise.uniform(*blend))
    return dye(draw_style(style, light), colour, noise)
