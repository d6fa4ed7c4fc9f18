"""Frames on the wire: raw ones are exact, JPEG is close, and what is not a frame is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.core.errors import EngineError
from lcm_daemon.render.engine_place import JPEG, RAW
from lcm_daemon.render.frame_wire import pack, unpack


def picture() -> np.ndarray:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return np.stack([np.tile(ramp, (48, 1))] * 3 + [np.full((48, 64), 7, np.uint8)], axis=-1)


def test_raw_is_exact_and_makes_no_copy() -> None:
    frame, out = picture(), np.zeros((48, 64, 4), np.uint8)
    assert pack(frame, RAW) is frame
    unpack(frame, out)
    assert (out == frame).all()


def test_jpeg_is_close_smaller_and_opaque() -> None:
    frame, out = picture(), np.zeros((48, 64, 4), np.uint8)
    packed = pack(frame, JPEG)
    assert len(packed) < frame.nbytes / 4
    unpack(packed, out)
    assert np.abs(out[..., :3].astype(int) - frame[..., :3]).mean() < 3
    assert (out[..., 3] == 255).all()


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 4), np.uint8), np.zeros((48, 64, 4), np.float32), None, b"no jpeg",
                                   pack(np.zeros((8, 8, 4), np.uint8), JPEG)])
def test_what_is_no_frame_of_that_size_is_refused(wrong: object) -> None:
    with pytest.raises(EngineError, match="64x48"):
        unpack(wrong, np.zeros((48, 64, 4), np.uint8))
