"""StillInput: frames with equal pixels are one input."""

from __future__ import annotations

import numpy as np

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.render.still_input import StillInput


def frame(number: int, grey: int) -> Frame:
    return Frame(solid((64, 36), (grey, grey, grey, 255)), number, float(number))


def test_a_repeated_picture_is_the_same_frame() -> None:
    still, first = StillInput(), frame(0, 10)
    assert [still.settle(frame_) for frame_ in (first, first, frame(1, 10), frame(2, 10))] == [first] * 4


def test_any_other_pixel_is_a_new_frame() -> None:
    still, first, second = StillInput(), frame(0, 10), frame(1, 10)
    second.pixels[35, 63, 2] += 1  # not among those that are compared first
    assert still.settle(first) is first
    assert still.settle(second) is second
    assert not np.array_equal(first.pixels, second.pixels)


def test_another_size_is_a_new_frame() -> None:
    still, small = StillInput(), Frame(solid((32, 36), (10, 10, 10, 255)), 1, 1.0)
    still.settle(frame(0, 10))
    assert still.settle(small) is small


def test_without_a_frame_there_is_none_and_the_next_one_is_new() -> None:
    still, first, later = StillInput(), frame(0, 10), frame(1, 10)
    still.settle(first)
    assert still.settle(None) is None
    assert still.settle(later) is later
