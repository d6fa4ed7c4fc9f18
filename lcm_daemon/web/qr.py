"""QR codes of addresses, for a terminal and for the page. Only this file imports segno."""

from __future__ import annotations

import io

import segno


def qr_image(url: str) -> str:
    """The QR code as the URL of an SVG image, black on white, with the quiet border that readers need."""
    uri: str = segno.make(url, micro=False).svg_data_uri(scale=4, border=4, light="white", nl=False)
    return uri


def qr_text(url: str) -> str:
    """The QR code as text for a terminal with a dark ground: half a character high a square."""
    text = io.StringIO()
    segno.make(url, micro=False).terminal(text, border=2, compact=True)
    return text.getvalue().rstrip("\n")
