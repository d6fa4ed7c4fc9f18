"""JPEG frames of visitors' cameras: what is accepted, and how they become frames of the show's size."""

from __future__ import annotations

import re

import numpy as np
import simplejpeg

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.render_size import MAX_SIDE
from lcm_daemon.transports import resize

MOST_BYTES = 1 << 18  # of one frame; a page sends 10,000 to 20,000
FEWEST_SIDE = 8  # pixels
_START, _SCAN = 0xD8, 0xDA  # markers of JPEG, ITU T.81
_BASELINE = (0xC0, 0xC1)  # frames in one scan; those of many scans may take minutes to decode
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))  # no segment follows; none of them belongs before the scan
_END = 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in a scan; others stand for a byte FF, or for a restart
MOST_SEGMENTS = 64  # before the scan; browsers write about ten


def decode_into(jpeg: bytes, out: Pixels) -> None:
    """Decode a camera's frame; it fills `out`, and what is beyond is cut. Slow: use a thread.

    Args:
        jpeg: A baseline JPEG.
        out: uint8 (H, W, 4), RGBA; it is unchanged after an error.

    Raises:
        ValueError: It is not a JPEG, is too large, or is of a kind that cameras do not send. The text is one line.
    """
    if len(jpeg) > MOST_BYTES:
        raise ValueError(f"{len(jpeg)} bytes; at most {MOST_BYTES} are allowed")
    if not is_baseline(jpeg):
        raise ValueError("only baseline JPEG of one scan is accepted")
    height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    if not (FEWEST_SIDE <= width <= MAX_SIDE and FEWEST_SIDE <= height <= MAX_SIDE):
        raise ValueError(f"{width}x{height} pixels; from {FEWEST_SIDE} to {MAX_SIDE} per side are allowed")
    size = out.shape[1], out.shape[0]
    pixels = simplejpeg.decode_jpeg(jpeg, "RGBA", min_height=size[1], min_width=size[0])  # large ones are decoded small
    np.copyto(out, resize.fit(pixels, size, "cover"))


def is_baseline(jpeg: bytes) -> bool:
    """Whether a JPEG is decoded in one pass: its frame header is a baseline one, and one scan has all components.

    A decoder passes over the whole picture for each scan, and a scan takes a dozen bytes.
    """
    if jpeg[:2] != bytes((0xFF, _START)):
        return False
    at, components = 2, 0
    for _ in range(MOST_SEGMENTS):
        if at + 10 > len(jpeg) or jpeg[at] != 0xFF:
            return False
        marker = jpeg[at + 1]
        if marker == _SCAN:
            return 0 < components == jpeg[at + 4] and _is_last_scan(jpeg, at)
        if marker in _FRAMES:
            if marker not in _BASELINE or components:
                return False
            components = jpeg[at + 9]
        elif marker in _BARE or marker == 0xFF:  # decoders differ in how they go on
            return False
        at += 2 + int.from_bytes(jpeg[at + 2:at + 4])
    return False


def _is_last_scan(jpeg: bytes, at: int) -> bool:
    """Whether the picture ends with the scan whose header is at this place."""
    following = _MARKER.search(jpeg, at + 2 + int.from_bytes(jpeg[at + 2:at + 4]))
    return following is None or jpeg[following.start() + 1] == _END
