"""Finds the cue that a controller asks for by its name or its number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from lcm_daemon.core.float32 import float32
from lcm_daemon.core.parameters import clean

_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


def find_cue(names: Sequence[str], given: str) -> int:
    """Return the index of the cue that `given` asks for, or -1.

    A name counts before a number. Controllers clean what they hear (`clean`), so the same is done to a name that has
    such characters: joined emoji, or a no-break space. A number is compared with the names that are numbers: 10.0 is
    the cue "10", and the 32-bit float of 4.1, which arrives as 4.099999904632568, is the cue "4.1". Otherwise a whole
    number is a place in the list, counted from 1.
    """
    if given in names:
        return names.index(given)
    cleaned = [clean(name) for name in names]
    if given in cleaned:
        return cleaned.index(given)
    number = _as_number(given)
    if number is None:
        return -1
    numbers = [_as_number(name) for name in names]
    if number in numbers:
        return numbers.index(number)
    if number == float32(number):  # it may come from a sender of 32-bit floats
        rounded = [None if each is None else float32(each) for each in numbers]
        if number in rounded:
            return rounded.index(number)
    return int(number) - 1 if number.is_integer() and 1 <= number <= len(names) else -1


def name_from_number(given: str) -> str:
    """Return the name for a recorded cue: a 32-bit float as people write it ("4.1"), every other text as it is."""
    number = _as_number(given)
    if number is None or repr(number) != given or number != float32(number):
        return given
    short = f"{number:.7g}"
    return short if float32(float(short)) == number and len(short) < len(given) - 2 else given


def _as_number(text: str) -> float | None:
    """Return the finite number that a text is, or None."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
