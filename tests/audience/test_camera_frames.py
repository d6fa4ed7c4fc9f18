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


def one_component_in_many_scans(count: int) -> bytes:
    """A baseline JPEG of 2048x2048 pixels that decodes one of its components again and again, in 11 bytes each."""
    jpeg = jpeg_of((1, 2, 3), (16, 16), subsampling=0)
    head, _, _ = jpeg.partition(b"\xff\xda")
    head = head.replace(b"\x08\x00\x10\x00\x10\x03", b"\x08\x08\x00\x08\x00\x03")
    return head + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x00" * count + b"\xff\xd9"


def progressive_behind_a_restart_marker() -> bytes:
    """Decoders read a restart marker as one without a segment; read as one with a segment, it hides what follows."""
    jpeg = jpeg_of((1, 2, 3), progressive=True)
    at = jpeg.index(b"\xff\xc2")
    end = at + 2 + int.from_bytes(jpeg[at + 2:at + 4])
    hidden = jpeg[:2] + b"\xff\xd0" + jpeg[at:end] + jpeg[2:at] + jpeg[end:]
    return hidden.ljust(4 + 0xFFC2, b"\0") + jpeg_of((1, 2, 3))[2:]


def test_frames_of_many_scans_are_recognized() -> None:
    begun = time.perf_counter()
    whole = jpeg_of((1, 2, 3))
    start = whole.index(b"\xff\xda")
    for jpeg in (one_component_in_many_scans(1), one_component_in_many_scans(20_000), whole[:-2] + whole[start:],
                 progressive_behind_a_restart_marker(), whole[:2] + b"\xff\xfe\0\2" * 50_000):
        assert not is_baseline(jpeg)
        with pytest.raises(ValueError, match="one scan"):
            decode_into(jpeg, np.zeros((64, 64, 4), np.uint8))
    assert time.perf_counter() - begun < 1.0
    assert is_baseline(jpeg_of((1, 2, 3), restart_marker_rows=1))
    assert is_baseline(whole[:-2])
    assert is_baseline(jpeg_of((1, 2, 3)))
    assert not is_baseline(jpeg_of((1, 2, 3), progressive=True))
