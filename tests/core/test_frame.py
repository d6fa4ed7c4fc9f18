"""Frame and pixels."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.frame import Frame, check_pixels, solid


def test_frame_size_is_width_and_height() -> None:
    assert Frame(solid((64, 48)), 0, 0.0).size == (64, 48)


@pytest.mark.parametrize("pixels", [
    np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.float32),
    np.zeros((4, 8, 4), np.uint8)[:, ::2],
])
def test_pixels_of_other_shapes_and_types_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        check_pixels(pixels)


def test_solid_is_one_opaque_colour() -> None:
    assert solid((3, 2), (1, 2, 3, 4)).reshape(-1, 4).tolist() == [[1, 2, 3, 4]] * 6
