"""Limits of the size at which recipes render: the same for recipes, commands, the CLI and stored state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lcm_daemon.core.frame import Size

MIN_SIDE, MAX_SIDE = 64, 2048  # pixels
SIDE_STEP = 8  # pixels: the VAEs of Stable Diffusion shrink a frame by this factor; other families by multiples of it
RULE = f"from {MIN_SIDE} to {MAX_SIDE} pixels a side, in multiples of {SIDE_STEP}"


def is_render_size(width: object, height: object) -> bool:
    """Whether frames can be rendered at this size."""
    return are_sides((width, height), MIN_SIDE, MAX_SIDE, SIDE_STEP)


def are_sides(sides: Sequence[Any], low: int, high: int, step: int) -> bool:
    """Whether these are two whole numbers from `low` to `high`, in multiples of `step`."""
    return len(sides) == 2 and all(isinstance(side, int) and low <= side <= high and side % step == 0 for side in sides)


def nearest_sizes(sides: Sequence[Any], low: int, high: int, step: int) -> str:
    """An error line for a size in the range that is not in multiples of `step`: the sizes next to it; else ""."""
    if not are_sides(sides, low, high, 1):
        return ""
    below, above = ([step * min(max(rounding(side / step), math.ceil(low / step)), high // step) for side in sides]
                    for rounding in (math.floor, math.ceil))
    return f"{list(sides)} is not in multiples of {step}; the nearest sizes are {below} and {above}"


def nearest_render_size(width: float, height: float) -> Size:
    """The allowed size that is nearest to this one."""
    return _nearest_side(width), _nearest_side(height)


def _nearest_side(side: float) -> int:
    return min(max(round(side / SIDE_STEP) * SIDE_STEP, MIN_SIDE), MAX_SIDE)
