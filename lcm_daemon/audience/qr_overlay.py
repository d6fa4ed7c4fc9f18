"""QrOverlay: the address that visitors open, as a QR code in a corner of the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels, Size

SHARE = 0.25  # of the output's shorter side that the code takes at most
MARGIN = 0.03  # of the shorter side between the code and the edges


class QrOverlay:
    """Draws a QR code into frames. The code is black on white and opaque.

    Args:
        corner: As in the show: "top_left", "bottom_right", ...
        size: (width, height) of the frames in pixels.
    """

    def __init__(self, corner: str, size: Size) -> None:
        self._corner, self._size = corner, size
        self._address = ""
        self._code: Pixels | None = None
        self._drawn: tuple[Pixels, Pixels] | None = None  # the last frame, without and with the code

    def set_address(self, address: str) -> bool:
        """Show another address; none for "". Returns False if its code does not fit."""
        if address != self._address:
            self._address, self._drawn = address, None
            self._code = _draw(address, int(min(self._size) * SHARE)) if address else None
        return self._code is not None or not address

    def apply(self, pixels: Pixels) -> Pixels:
        """The frame with the code, uint8 (H, W, 4); `pixels` itself without an address, or if the code does not fit."""
        if self._code is None:
            return pixels
        if self._drawn is None or self._drawn[0] is not pixels:
            drawn = pixels.copy()
            side, margin = self._code.shape[0], round(min(self._size) * MARGIN)
            top = margin if self._corner.startswith("top") else drawn.shape[0] - margin - side
            left = margin if self._corner.endswith("left") else drawn.shape[1] - margin - side
            drawn[top:top + side, left:left + side] = self._code
            self._drawn = pixels, drawn
        return self._drawn[1]


def _draw(address: str, most: int) -> Pixels | None:
    """The code with whole pixels a square, at most `most` pixels wide; None if that leaves less than two a square."""
    from lcm_daemon.web.qr import qr_modules

    modules = qr_modules(address)
    scale = most // len(modules)
    if scale < 2:
        return None
    levels: Any = np.where(modules, np.uint8(0), np.uint8(255))
    code = np.full((len(modules) * scale, len(modules) * scale, 4), 255, np.uint8)
    code[..., :3] = np.kron(levels, np.ones((scale, scale), np.uint8))[..., None]
    return code
