"""QR codes of addresses: for a terminal, for the page, in a picture, as a file. Only this file imports segno."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import segno
from numpy.typing import NDArray


def qr_image(url: str) -> str:
    """The QR code as the URL of an SVG image, black on white, with the quiet border that readers need."""
    uri: str = segno.make(url, micro=False).svg_data_uri(scale=4, border=4, light="white", nl=False)
    return uri


def qr_text(url: str) -> str:
    """The QR code as text for a terminal with a dark ground: half a character high a square."""
    text = io.StringIO()
    segno.make(url, micro=False).terminal(text, border=2, compact=True)
    return text.getvalue().rstrip("\n")


def qr_modules(url: str, border: int = 2) -> NDArray[np.bool_]:
    """The QR code's squares, (side, side): whether each is black. border: width of the white frame in squares."""
    rows = segno.make(url, micro=False).matrix_iter(scale=1, border=border)
    return np.array([[bool(square) for square in row] for row in rows])


def write_qr(url: str, path: Path) -> None:
    """Write the QR code to a PNG or SVG file, 20 pixels a square. Raises OSError."""
    segno.make(url, micro=False).save(str(path), scale=20, border=4)
