"""Canny: thin white edges on black, computed on the device.

The result equals OpenCV's `cv2.Canny(cv2.GaussianBlur(grey, (5, 5), 0), 100, 200)` on 8-bit grey. That is Canny's
detector ("A Computational Approach to Edge Detection", 1986) with a Sobel gradient, the L1 norm |dx| + |dy|, and
directions in four sectors. All steps use whole numbers that float32 represents exactly, have fixed shapes, and send
nothing back to the host, so that a CUDA graph can contain them. No convolution is used, because it may round to TF32.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lcm_daemon.pipelines.preprocessors.base import Preprocessor

Bits = NDArray[np.bool_]  # (h, w)

LOW, HIGH = 100.0, 200.0  # of the L1 norm: the thresholds of diffusers' examples and of most canny ControlNets
REACH = 64  # pixels that a weak edge is followed from a strong one; OpenCV has no limit, and so no fixed cost
TAN_22 = 13573.0  # tangent of 22.5 degrees times 2**15, OpenCV's constant; that of 67.5 degrees is this plus 2


class Canny(Preprocessor):
    """Canny edges, as three equal channels of 0 or 1."""

    is_recordable = True

    def _map(self, image: torch.Tensor) -> torch.Tensor:
        return edges(grey(image)).expand(-1, 3, -1, -1).to(image.dtype)


def grey(image: torch.Tensor) -> torch.Tensor:
    """Convert (1, 3, h, w) from -1 to 1 to luma (1, 1, h, w), whole numbers from 0 to 255 in float32.

    The weights are OpenCV's for Rec. 601 luma in 15 bits: 9798, 19235, 3735.
    """
    levels = image.float().mul(127.5).add_(127.5).round_().clamp_(0.0, 255.0)
    red, green, blue = levels.unbind(1)
    return ((red * 9798 + green * 19235 + blue * 3735 + 16384) / 32768).floor_()[:, None]


def edges(levels: torch.Tensor) -> torch.Tensor:
    """Find the edges of luma (1, 1, h, w), whole numbers from 0 to 255 in float32: 1 on an edge, 0 elsewhere."""
    dx, dy = _gradient(_blur(levels))
    x, y = dx.abs(), dy.abs()
    norm = x + y
    peaks = _peaks(norm, x, y, dx * dy < 0)
    return _follow(peaks & (norm > HIGH), peaks & (norm > LOW)).float()


def _follow(found: torch.Tensor, weak: torch.Tensor) -> torch.Tensor:
    """Hysteresis: the strong pixels, and the weak ones connected with them, up to REACH pixels away."""
    if found.device.type == "cpu":
        return torch.from_numpy(_follow_bytes(found[0, 0].numpy(), weak[0, 0].numpy()))[None, None]
    for _ in range(REACH):
        found = _grow(found) & weak
    return found


def _grow(found: torch.Tensor) -> torch.Tensor:
    """Grow by one pixel in all eight directions, in one launch."""
    return functional.max_pool2d(found.half(), 3, 1, 1).bool()


def _follow_bytes(found: Bits, weak: Bits) -> Bits:
    """The same on the CPU, where pooling would take a hundred times as long; stops when nothing more is found."""
    for _ in range(REACH):
        rows = found.copy()
        rows[1:] |= found[:-1]
        rows[:-1] |= found[1:]
        grown = rows.copy()
        grown[:, 1:] |= rows[:, :-1]
        grown[:, :-1] |= rows[:, 1:]
        grown &= weak
        if np.array_equal(grown, found):
            break
        found = grown
    return found


def _blur(levels: torch.Tensor) -> torch.Tensor:
    """Binomial kernel (1, 4, 6, 4, 1) / 16 in both directions, as (1, 1) four times; rounded to whole numbers."""
    blurred = functional.pad(levels, (2, 2, 2, 2), mode="reflect")
    for _ in range(4):
        blurred = blurred[..., 1:] + blurred[..., :-1]
        blurred = blurred[..., 1:, :] + blurred[..., :-1, :]
    return blurred.mul_(1 / 256).add_(0.5).floor_()


def _gradient(levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sobel's 3x3 derivatives, to the right and downwards."""
    padded = functional.pad(levels, (1, 1, 1, 1), mode="replicate")
    columns = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return columns[..., 2:] - columns[..., :-2], rows[..., 2:, :] - rows[..., :-2, :]


def _peaks(norm: torch.Tensor, x: torch.Tensor, y: torch.Tensor, falling: torch.Tensor) -> torch.Tensor:
    """Non-maximum suppression: pixels whose norm is the highest across the edge.

    Of equal neighbours along an axis, the first one counts.

    Args:
        norm: L1 norm of the gradient, (1, 1, h, w).
        x: |dx|.
        y: |dy|.
        falling: whether dx and dy have opposite signs.
    """
    level = y * 32768 < x * TAN_22  # the gradient points along the row
    steep = (y - 2 * x) * 32768 > x * TAN_22
    height, width = norm.shape[-2:]
    around = functional.pad(norm, (1, 1, 1, 1))

    def neighbour(down: int, right: int) -> torch.Tensor:
        return around[..., 1 + down:1 + down + height, 1 + right:1 + right + width]

    def across(side: int) -> torch.Tensor:
        diagonal = torch.where(falling, neighbour(side, -side), neighbour(side, side))
        return torch.where(level, neighbour(0, side), torch.where(steep, neighbour(side, 0), diagonal))

    after = across(1)
    return (norm > across(-1)) & ((norm > after) | ((norm == after) & (level | steep)))
