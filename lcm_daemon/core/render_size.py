"""Limits of the size at which recipes render: the same for recipes, commands, the CLI and stored state."""

from __future__ import annotations

from lcm_daemon.core.frame import Size

MIN_SIDE, MAX_SIDE = 64, 2048  # pixels
SIDE_STEP = 8  # pixels: the VAEs of all supported model families shrink a frame by this factor
RULE = f"from {MIN_SIDE} to {MAX_SIDE} pixels a side, in multiples of {SIDE_STEP}"


def is_render_size(width: object, height: object) -> bool:
    """Whether frames can be rendered at this size."""
    return all(
        isinstance(side, int) and MIN_SIDE <= side <= MAX_SIDE and side % SIDE_STEP == 0 for side in (width, height)
    )


def nearest_render_size(width: float, height: float) -> Size:
    """The allowed size that is nearest to this one."""
    return _nearest_side(width), _nearest_side(height)


def _nearest_side(side: float) -> int:
    return min(max(round(side / SIDE_STEP) * SIDE_STEP, MIN_SIDE), MAX_SIDE)
