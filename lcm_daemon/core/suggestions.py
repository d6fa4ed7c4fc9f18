"""The end of an error line about an unknown name: the known name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LEAST = 0.5  # similarity of a suggestion, as of difflib's `ratio`
LONGEST = 80  # characters of the unknown name that are compared


def suggestion(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of an error line where many names are known: "; did you mean 'x'?", or nothing."""
    close = _closest(name, known)
    return f"; did you mean {close!r}?" if close is not None else ""


def nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The end of an error line: "; did you mean 'x'?", or the list of what is known."""
    close = _closest(name, known)
    return f"; did you mean {close!r}?" if close is not None else f"; there are {', '.join(known)}"


def _closest(name: str, known: Iterable[str]) -> str | None:
    """What `difflib.get_close_matches(name, known, 1, LEAST)` finds, in a fraction of the time.

    The ratio is computed for those alone whose upper bounds are not below the best one so far.
    """
    matcher: difflib.SequenceMatcher[str] = difflib.SequenceMatcher()
    matcher.set_seq2(name[:LONGEST])
    bounds: list[tuple[float, str]] = []
    for each in known:
        matcher.set_seq1(each)
        if matcher.real_quick_ratio() >= LEAST and (bound := matcher.quick_ratio()) >= LEAST:
            bounds.append((bound, each))
    best: tuple[float, str] | None = None
    for bound, each in sorted(bounds, reverse=True):
        if best is not None and bound < best[0]:
            break
        matcher.set_seq1(each)
        if (ratio := matcher.ratio()) >= LEAST:
            best = max(best, (ratio, each)) if best else (ratio, each)
    return best[1] if best else None
