"""LTC as libltc makes it, an encoder that shares no code with ours."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
from numpy.typing import NDArray

from tests.conftest import need

STANDARDS = {24.0: 3, 25.0: 1, 30.0: 0, 30000 / 1001: 0}  # LTC_TV_FILM_24, LTC_TV_625_50, LTC_TV_525_60


class _Timecode(ctypes.Structure):
    _fields_ = [("timezone", ctypes.c_char * 6), *((name, ctypes.c_ubyte) for name in (
        "years", "months", "days", "hours", "mins", "secs", "frame"))]


def ltc_signal(
    start: tuple[int, int, int, int], frames: int, fps: float = 25.0, rate: int = 48000, backwards: bool = False,
) -> NDArray[np.float32]:
    """The signal of some frames from `start` (hours, minutes, seconds, frames) on, float32 (n,), -1 to 1.

    Args:
        start: The first timecode.
        frames: How many frames.
        fps: A key of STANDARDS; 30000 / 1001 is drop-frame timecode.
        rate: Samples a second.
        backwards: Whether it runs backwards, as a tape does.
    """
    name = ctypes.util.find_library("ltc")
    need(name is not None, "libltc is not installed (Debian: libltc11)")
    library = ctypes.CDLL(str(name))
    library.ltc_encoder_create.restype = ctypes.c_void_p
    library.ltc_encoder_create.argtypes = [ctypes.c_double, ctypes.c_double, ctypes.c_int, ctypes.c_int]
    library.ltc_encoder_get_buffersize.restype = ctypes.c_size_t
    for function in ("set_timecode", "encode_frame", "encode_reversed_frame", "inc_timecode", "dec_timecode",
                     "copy_buffer", "get_buffersize", "free"):
        getattr(library, f"ltc_encoder_{function}").argtypes = [ctypes.c_void_p] + (
            [ctypes.c_void_p] if function in ("set_timecode", "copy_buffer") else [])
    encoder = library.ltc_encoder_create(rate, fps, STANDARDS[fps], 0)
    library.ltc_encoder_set_timecode(encoder, ctypes.byref(_Timecode(b"+0000", 0, 0, 0, *start)))
    buffer = (ctypes.c_ubyte * library.ltc_encoder_get_buffersize(encoder))()
    blocks = []
    for _ in range(frames):
        (library.ltc_encoder_encode_reversed_frame if backwards else library.ltc_encoder_encode_frame)(encoder)
        length = library.ltc_encoder_copy_buffer(encoder, buffer)
        blocks.append(np.frombuffer(buffer, np.uint8, length).astype(np.float32))
        (library.ltc_encoder_dec_timecode if backwards else library.ltc_encoder_inc_timecode)(encoder)
    library.ltc_encoder_free(encoder)
    return ((np.concatenate(blocks) - 128.0) / 128.0).astype(np.float32)
