"""The judge's painters of patterns: each draws one subject on a Sheet, at any angle, size and position."""

from __future__ import annotations

import math

import numpy as np

from examples.train_builtin.judge_sheet import Field, Points, Sheet, rise


def unlit(sheet: Sheet, pattern: Field, dark: float = 0.0) -> None:
    """Show a pattern from 0 to 1 in two random tones under an uneven light; inverted with the chance `dark`."""
    low, high = sheet.between(0.02, 0.3), sheet.between(0.7, 1.0)
    pattern = 1 - pattern if sheet.chance.random() < dark else pattern
    light = 1 + sheet.between(0, 0.25) * sheet.field(1.5, 3)
    sheet.light = ((low + (high - low) * pattern) * light).astype(np.float32)


def draw_neon_grid(sheet: Sheet) -> None:
    """A floor of bright lines that meet at the horizon, a sun of stripes above it, dark sky."""
    horizon, middle = sheet.between(-0.3, 0.3), sheet.between(-0.2, 0.2)
    sheet.light = 0.05 + 0.15 * np.exp(-np.abs(sheet.y - horizon) * 4)
    size, up = sheet.between(0.25, 0.5), sheet.between(0.05, 0.3)
    disc = rise(size - np.hypot(sheet.x - middle, sheet.y - horizon + up), 0.02) * (sheet.y < horizon)
    if sheet.chance.random() < 0.7:
        disc = disc * (np.sin((sheet.y - horizon) * sheet.between(25, 60)) > -0.4)
    sheet.cover(disc.astype(np.float32), 0.95)
    spread, pace = sheet.between(0.18, 0.5), sheet.between(1.25, 1.6)
    lines: list[Points] = [[(middle + n * spread * 0.25, horizon), (middle + n * spread * 4, 1.4)]
                           for n in range(-14, 15)]
    lines += [[(-1.2, horizon + 0.04 * pace**n), (1.2, horizon + 0.04 * pace**n)] for n in range(14)]
    floor = sheet.strokes(lines, sheet.between(1.5, 3)) + 0.5 * sheet.strokes(lines, 4, 3)
    sheet.light = np.where(sheet.y >= horizon, np.maximum(sheet.light, floor), sheet.light).astype(np.float32)


def draw_checker(sheet: Sheet) -> None:
    x, y = sheet.turned(float(sheet.chance.choice((0, 8, 45))))
    size = sheet.between(0.14, 0.55)
    column, row = np.floor(x / size + sheet.between(0, 1)), np.floor(y / size + sheet.between(0, 1))
    unlit(sheet, ((column + row) % 2).astype(np.float32))


def draw_stripes(sheet: Sheet) -> None:
    x, _ = sheet.turned(float(sheet.chance.choice((3, 90))))
    width, share = sheet.between(0.12, 0.6), sheet.between(0.35, 0.65)
    unlit(sheet, (((x / width + sheet.between(0, 1)) % 1) < share).astype(np.float32))


def draw_grid(sheet: Sheet) -> None:
    """Thin lines that cross at right angles."""
    x, y = sheet.turned(float(sheet.chance.choice((0, 8, 45))))
    size, thin = sheet.between(0.2, 0.6), sheet.between(0.04, 0.13)
    near = [np.abs((axis / size + sheet.between(0, 1)) % 1 - 0.5) < thin for axis in (x, y)]
    unlit(sheet, (near[0] | near[1]).astype(np.float32), 0.2)


def draw_honeycomb(sheet: Sheet) -> None:
    """Six-sided cells with walls between them."""
    x, y = sheet.turned(float(sheet.chance.choice((0, 30))))
    x, y = (y, x) if sheet.chance.random() < 0.3 else (x, y)
    size = sheet.between(0.2, 0.55)
    x, y = x / size + sheet.between(0, 1), y / size * sheet.between(0.85, 1.1) + sheet.between(0, 1)
    row = math.sqrt(3)
    lattices = [(x % 1 - 0.5, y % row - row / 2), ((x + 0.5) % 1 - 0.5, (y + row / 2) % row - row / 2)]
    inside = [0.5 - np.maximum(np.abs(a), np.abs(a) / 2 + np.abs(b) * row / 2) for a, b in lattices]
    depth = np.maximum(*inside)
    cell = rise(depth - sheet.between(0.02, 0.07), 0.05) * (0.75 + sheet.between(0, 0.6) * depth)
    unlit(sheet, cell.astype(np.float32), 0.3)


def draw_bricks(sheet: Sheet) -> None:
    """Courses of bricks, each moved against the one below, with joints; the tone differs from brick to brick."""
    x, y = sheet.turned(4)
    height, ratio = sheet.between(0.14, 0.4), sheet.between(1.6, 2.8)
    y = y / height + sheet.between(0, 1)
    row = np.floor(y)
    down = y - row
    shift = 0.5 if sheet.chance.random() < 0.8 else 0.33
    place = x / (height * ratio) + shift * row + sheet.between(0, 1)
    across = place % 1
    tones = sheet.chance.uniform(0.45, 0.85, (64, 64))[(row % 64).astype(int), (np.floor(place) % 64).astype(int)]
    joint = np.minimum(np.minimum(across, 1 - across) * ratio, np.minimum(down, 1 - down))
    wall = rise(joint - sheet.between(0.04, 0.1), 0.05)
    mortar = float(sheet.chance.choice((0.08, 0.2, 1.0)))
    sheet.light = (mortar * (1 - wall) + tones * wall + 0.04 * sheet.field(20, 1)).astype(np.float32)


def draw_ripples(sheet: Sheet) -> None:
    """Rings around one centre, or two that overlap."""
    total = np.zeros_like(sheet.x)
    pace = sheet.between(12, 38)
    for _ in range(1 if sheet.chance.random() < 0.8 else 2):
        radius = np.hypot(sheet.x - sheet.between(-0.4, 0.4), sheet.y - sheet.between(-0.4, 0.4))
        total += np.cos(radius * pace + sheet.between(0, 6)) * np.exp(-radius * sheet.between(0, 0.9))
    unlit(sheet, (0.5 + 0.5 * total).clip(0, 1).astype(np.float32))


def draw_dots(sheet: Sheet) -> None:
    """Round dots in rows, in line or moved by half."""
    x, y = sheet.turned(float(sheet.chance.choice((0, 8, 45))))
    size, radius = sheet.between(0.25, 0.6), sheet.between(0.2, 0.4)
    x, y = x / size + sheet.between(0, 1), y / size + sheet.between(0, 1)
    x = x + 0.5 * (np.floor(y) % 2) * (sheet.chance.random() < 0.35)
    unlit(sheet, rise(radius - np.hypot(x % 1 - 0.5, y % 1 - 0.5), 0.04).astype(np.float32), 0.25)


def draw_zebra(sheet: Sheet) -> None:
    """Bands that wind, part and end: noise of one wavelength, cut into two tones."""
    cycles, width = sheet.between(3, 8), sheet.between(0.15, 0.3)
    rows = np.fft.fftfreq(sheet.x.shape[0], 1 / sheet.x.shape[0])[:, None]
    columns = np.fft.rfftfreq(sheet.x.shape[0], 1 / sheet.x.shape[0])
    ring = np.exp(-(((np.hypot(rows, columns) - cycles) / (cycles * width)) ** 2))
    along = sheet.between(0, math.pi)
    ring = ring * np.exp(sheet.between(0, 2.5) * np.cos(2 * (np.arctan2(rows, columns) - along)))
    waves = np.fft.irfft2(ring * np.fft.rfft2(sheet.chance.standard_normal(sheet.x.shape)), s=sheet.x.shape)
    unlit(sheet, rise(waves / waves.std() + 0.1, 0.2).astype(np.float32))


def draw_spiral(sheet: Sheet) -> None:
    """One to five arms that wind around a centre."""
    x, y = sheet.x - sheet.between(-0.25, 0.25), sheet.y - sheet.between(-0.25, 0.25)
    radius, angle = np.hypot(x, y) + 0.03, np.arctan2(y, x)
    arms, way = int(sheet.between(1, 6)), float(sheet.chance.choice((-1, 1)))
    wound = radius * sheet.between(6, 16) if sheet.chance.random() < 0.5 else np.log(radius) * sheet.between(2.5, 7)
    wave = np.cos(arms * angle + way * wound * max(1, arms / 2) + 0.15 * sheet.field(3))
    unlit(sheet, rise(wave + sheet.between(0.1, 0.9), sheet.between(0.4, 1.4)).astype(np.float32))
    sheet.light = sheet.light + sheet.between(-0.3, 0.5) * np.exp(-radius / 0.12).astype(np.float32)


def draw_tunnel(sheet: Sheet) -> None:
    """Rings of tiles, round or square, that become smaller towards the centre."""
    x, y = sheet.x - sheet.between(-0.25, 0.25), sheet.y - sheet.between(-0.25, 0.25)
    square = sheet.chance.random() < 0.4
    radius = (np.maximum(np.abs(x), np.abs(y)) if square else np.hypot(x, y)) + 0.02
    depth = np.log(radius) * sheet.between(1.2, 3.2) + sheet.between(0, 1)
    sectors = int(sheet.between(6, 14))
    around = np.arctan2(y, x) / math.tau * sectors
    if sheet.chance.random() < 0.6:
        tiles = ((np.floor(depth) + np.floor(around)) % 2).astype(np.float32)
    else:
        tiles = ((np.abs(depth % 1 - 0.5) < 0.1) | (np.abs(around % 1 - 0.5) < 0.08)).astype(np.float32)
    unlit(sheet, tiles)
    sheet.light = sheet.light * rise(radius.astype(np.float32) - 0.04, sheet.between(0.1, 0.5))
