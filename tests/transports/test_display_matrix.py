"""A display matrix is read as a matrix: turned, mirrored, and both."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from lcm_daemon.transports.display_matrix import UPRIGHT, orient, read_matrix
from tests.rigs.videos import MATRICES, quarters, seen_quarters


@pytest.mark.parametrize("name", MATRICES)
def test_every_turn_and_mirror(name) -> None:
    matrix, expected = MATRICES[name]
    orientation = read_matrix(struct.pack("=9i", *matrix))
    pixels = orient(quarters((8, 4)), orientation)
    assert tuple(seen_quarters(pixels)) == expected
    assert pixels.shape == ((8, 4, 4) if orientation.transposed else (4, 8, 4))


@pytest.mark.parametrize("matrix", [(1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), (0,) * 9])
def test_an_empty_or_usual_matrix_changes_nothing(matrix) -> None:
    assert read_matrix(struct.pack("=9i", *matrix)) == UPRIGHT
    assert read_matrix(b"short") == UPRIGHT


def test_a_slanted_matrix_is_the_nearest_turn() -> None:
    degrees = np.deg2rad(100)
    cosine, sine = round(np.cos(degrees) * (1 << 16)), round(np.sin(degrees) * (1 << 16))
    slanted = read_matrix(struct.pack("=9i", cosine, sine, 0, -sine, cosine, 0, 0, 0, 1 << 30))
    assert slanted == read_matrix(struct.pack("=9i", *MATRICES["clockwise"][0]))
