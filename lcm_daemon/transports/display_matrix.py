"""The display matrix of a video: how a player turns and mirrors its pictures."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels

BYTES = 36  # nine 32-bit numbers in the machine's byte order


@dataclass(frozen=True)
class Orientation:
    """How stored pixels become the picture: first swap rows and columns, then mirror."""

    transposed: bool = False
    mirrored: bool = False  # left and right
    flipped: bool = False  # top and bottom


UPRIGHT = Orientation()


def orientation_of(frame: Any) -> Orientation:
    """The orientation that an `av.VideoFrame` carries."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if side_data is None else read_matrix(bytes(side_data))


def read_matrix(data: bytes) -> Orientation:
    """The nearest orientation to a display matrix of FFmpeg (`libavutil/display.h`).

    The matrix is a, b, u, c, d, v, x, y, w. It moves the stored point (p, q), counted from the top left, to
    (a p + c q + x, b p + d q + y).
    """
    if len(data) < BYTES:
        return UPRIGHT
    a, b, _, c, d = struct.unpack_from("=5i", data)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def orient(pixels: Pixels, orientation: Orientation) -> Pixels:
    """Turn and mirror uint8 (H, W, 4); returns a view where that is enough."""
    if orientation.transposed:
        pixels = pixels.transpose(1, 0, 2)
    if orientation.mirrored:
        pixels = pixels[:, ::-1]
    return np.asarray(pixels[::-1] if orientation.flipped else pixels)
