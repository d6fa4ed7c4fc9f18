"""When the input shows nothing."""

from __future__ import annotations

import numpy as np

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.render.silence import InputSilence, is_black

BLACK, GREY = solid((64, 64), (8, 8, 8, 255)), solid((64, 64), (90, 90, 90, 255))


def test_no_new_frame_or_only_black_ones_is_silence() -> None:
    silence, picture = InputSilence(30.0), Frame(GREY, 0, 0.0)
    assert not silence.is_silent(picture, 0.0)
    assert not silence.is_silent(picture, 29.0)
    assert silence.is_silent(picture, 31.0), "the same frame for so long"
    assert silence.is_silent(Frame(BLACK, 1, 0.0), 32.0)
    assert not silence.is_silent(Frame(GREY, 2, 0.0), 33.0)
    for second in range(34, 63):
        assert not silence.is_silent(Frame(BLACK, second, 0.0), float(second))
    assert silence.is_silent(Frame(BLACK, 63, 0.0), 63.0)
    assert silence.is_silent(None, 64.0), "it is gone"
    silence.reset()
    assert not silence.is_silent(None, 100.0)


def test_black_is_what_video_calls_black() -> None:
    assert is_black(BLACK)
    assert is_black(np.zeros((1, 1, 4), np.uint8))
    assert not is_black(GREY)
