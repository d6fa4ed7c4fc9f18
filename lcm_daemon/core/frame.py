"""Frame: pixels with a number and a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 4), RGBA, top-left origin, C-contiguous
Size = tuple[int, int]  # (width, height) in pixels, the order of shows and textures
Fit = Literal["cover", "contain", "stretch"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame. It is equal only to itself.

    Attributes:
        pixels: uint8 (H, W, 4), RGBA, top-left origin, C-contiguous. Never written to once the frame exists.
        number: Counts up from 0 where the frame was made; gaps are lost frames.
        time: Monotonic seconds at which a source captured the frame, or the engine began to render it.
        pixel_aspect: Width : height of a pixel as the picture is meant to be shown.
        between: Pictures to show before this one, evenly apart since the frame before it; as `pixels`.
    """

    pixels: Pixels
    number: int
    time: float
    pixel_aspect: float = 1.0
    between: tuple[Pixels, ...] = ()

    @property
    def size(self) -> Size:
        return self.pixels.shape[1], self.pixels.shape[0]


def check_pixels(pixels: Pixels) -> Pixels:
    """Return `pixels` if they are uint8 (H, W, 4) and C-contiguous; else raise ValueError."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError(f"pixels must be uint8 (H, W, 4), got {pixels.dtype} {pixels.shape}")
    if not pixels.flags.c_contiguous:
        raise ValueError("pixels must be C-contiguous")
    return pixels


def solid(size: Size, rgba: tuple[int, int, int, int] = (0, 0, 0, 255)) -> Pixels:
    """Pixels of one colour, uint8 (H, W, 4)."""
    pixels = np.empty((size[1], size[0], 4), np.uint8)
    pixels[:] = rgba
    return pixels
