"""Text for a terminal or a log: what could move the cursor or begin a line of its own is written as an escape."""

from __future__ import annotations

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]  # C0, DEL and C1 (ISO/IEC 6429); terminals obey them
_LINE_ENDS = [0x2028, 0x2029]
_DIRECTIONS = [0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # they reorder a line (Unicode UAX #9)
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
            for code in (*_CONTROLS, *_LINE_ENDS, *_DIRECTIONS) if chr(code) not in "\n\t"}
_ESCAPES_OF_JSON = {code: f"\\u{code:04x}" for code in _ESCAPES if code >= 0x20}
INDENT = "    "


def printable(text: str, indent: str = INDENT) -> str:
    """The text with escapes in place of control characters.

    Args:
        text: Any; some of it may have come from a stranger.
        indent: What its second and further lines begin with, so that none looks like a line by itself.
    """
    if text.isprintable():
        return text
    return text.translate(_ESCAPES).replace("\n", f"\n{indent}")


def printable_json(text: str) -> str:
    """JSON of one line, in which such characters are escapes; it means the same."""
    return text if text.isprintable() else text.translate(_ESCAPES_OF_JSON)
