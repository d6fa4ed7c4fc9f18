"""The end of an error line about an unknown name: the known name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any


def suggestion(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of an error line where many names are known: "; did you mean 'x'?", or nothing."""
    close = difflib.get_close_matches(name[:80], list(known), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of an error line: "; did you mean 'x'?", or the list of what is known."""
    close = difflib.get_close_matches(name[:80], list(known), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
