"""Numbers as OSC carries them: 32-bit floats."""

from __future__ import annotations

import math
import struct

_FLOAT32 = struct.Struct("f")


def float32(number: float) -> float:
    """Round to the nearest 32-bit float; a number beyond their range becomes infinite."""
    try:
        rounded: float = _FLOAT32.unpack(_FLOAT32.pack(number))[0]
    except (OverflowError, struct.error):  # the latter for an int beyond the range of any float
        return math.inf if number > 0 else -math.inf
    return rounded
