"""How frames travel to an engine elsewhere and back: as they are, or as JPEG where the network is the limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import simplejpeg

from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.render.engine_place import RAW

QUALITY = 90  # 512x512 takes about 60 KB, and is 38 dB from the original
Packed = Pixels | bytes


def pack(pixels: Pixels, wire: str) -> Packed:
    """A frame as it travels. JPEG leaves the alpha out.

    Args:
        pixels: uint8 (H, W, 4).
        wire: One of WIRES.
    """
    if wire == RAW:
        return pixels
    packed: bytes = simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorspace="RGBA", colorsubsampling="420")
    return packed


def unpack(packed: Any, out: Pixels) -> None:
    """Write a frame that has travelled into `out`, uint8 (H, W, 4). The alpha of a JPEG is 255.

    Raises:
        EngineError: It is not a frame of that size.
    """
    try:
        if isinstance(packed, bytes):
            height, width, *_ = simplejpeg.decode_jpeg_header(packed)
            if (height, width) != out.shape[:2]:
                raise ValueError(f"{width}x{height}")
            simplejpeg.decode_jpeg(packed, colorspace="RGBA", buffer=out)
        elif not isinstance(packed, np.ndarray) or packed.shape != out.shape or packed.dtype != np.uint8:
            raise ValueError(f"{getattr(packed, 'shape', type(packed).__name__)}")
        else:
            np.copyto(out, packed)
    except ValueError as error:
        raise EngineError(f"a frame of {out.shape[1]}x{out.shape[0]} was expected from the wire: {error}") from error
