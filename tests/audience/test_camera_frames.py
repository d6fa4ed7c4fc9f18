"""Frames of visitors' cameras: what is decoded, and what is refused before it costs anything."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lcm_daemon.audience.camera_frames import MOST_BYTES, decode_into, is_baseline
from tests.rigs.audience import is_near, jpeg_of


@pytest.mark.parametrize("size", [(256, 256), (64, 48), (8, 8), (2048, 2048), (640, 480)])
def test_a_frame_fills_the_size_of_the_show(size: tuple[int, int]) -> None:
    pixels = np.zeros((64, 96, 4), np.uint8)
    decode_into(jpeg_of((200, 100, 50), size), pixels)
    assert is_near(tuple(pixels[32, 48]), (200, 100, 50, 255))


@pytest.mark.parametrize("jpeg", [
    b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xe0\xff\xff", b"\xff\xd8" + b"\xff" * 1000, b"GIF89a" * 10, b"\0" * 1000,
    jpeg_of((1, 2, 3))[:300], jpeg_of((1, 2, 3), progressive=True), jpeg_of((1, 2, 3), (2049, 16)),
    jpeg_of((1, 2, 3), (16, 7)), jpeg_of((1, 2, 3)) + b"\0" * MOST_BYTES, b"\xff\xd8\xff\xe0\0\0" * 100,
    jpeg_of((1, 2, 3)).replace(b"\xff\xc0\x00\x11\x08\x01\x00\x01\x00", b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff"),
])
def test_anything_else_is_refused_in_one_line_and_at_once(jpeg: bytes) -> None:
    begun, out = time.perf_counter(), np.zeros((64, 64, 4), np.uint8)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        decode_into(jpeg, out)
    assert not out.any()
    assert time.perf_counter() - begun < 1.0


def test_frames_of_many_scans_are_recognized() -> None:
    assert is_baseline(jpeg_of((1, 2, 3)))
    assert not is_baseline(jpeg_of((1, 2, 3), progressive=True))
