"""StillInput: recognises an input that does not change, so that it is not rendered again."""

from __future__ import annotations

import numpy as np

from lcm_daemon.core.frame import Frame, Pixels

_STRIDE = 16  # of the pixels that are compared first: where a picture moves, these differ, and nothing more is read


class StillInput:
    """Returns the same frame while a source repeats its pixels: a paused clip, a picture that is sent again and again.

    An equal frame costs one pass over its pixels, which is far less than rendering it.
    """

    def __init__(self) -> None:
        self._newest: Frame | None = None  # what came last
        self._kept: Frame | None = None  # the first frame with these pixels

    def settle(self, frame: Frame | None) -> Frame | None:
        """Return the first of the consecutive frames that have the pixels of this one. None is passed on."""
        if frame is not self._newest:
            self._newest = frame
            if frame is None or self._kept is None or not is_equal(frame.pixels, self._kept.pixels):
                self._kept = frame
        return self._kept


def is_equal(one: Pixels, other: Pixels) -> bool:
    """Whether two pictures have the same size and pixels."""
    if one.shape != other.shape:
        return False
    if not np.array_equal(one[::_STRIDE, ::_STRIDE], other[::_STRIDE, ::_STRIDE]):
        return False
    return np.array_equal(one.view(np.uint32), other.view(np.uint32))  # a whole pixel at once
