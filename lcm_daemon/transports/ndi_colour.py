"""Colours of NDI: YUV 4:2:2 in limited range to RGBA and back, by swscale, and the matrix that a sender uses.

The runtime's own conversion to RGB brings full blue as 240. Processor time of a frame of 1920x1080 on a shared core:
received 8 ms, as with the runtime's conversion; sent 6 to 9 ms, with alpha 8 to 10, in the sink's own thread.

A sender's matrix is not part of the video. The SDK documents BT.601 for SD, BT.709 for HD, BT.2020 for UHD. The runtime
itself (6.3) converts RGB with BT.709 at every size, and so does everything that sends RGB through it.
"""

from __future__ import annotations

import math
import re
import threading
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.transports import pyav

Matrix = Literal["bt601", "bt709", "bt2020"]
Plane = NDArray[np.uint8]

_COLORSPACES: dict[Matrix, str] = {"bt601": "ITU601", "bt709": "ITU709", "bt2020": "BT2020"}
_WEIGHTS: dict[Matrix, tuple[float, float]] = {  # of red and blue in luma: ITU-R BT.601, BT.709, BT.2020
    "bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593),
}
_TAG = re.compile(rb"""<ndi_color_info\b[^>]*\smatrix\s*=\s*["'](\w+)""")  # in a frame's metadata, NDI SDK 6
_TAGS: dict[bytes, Matrix] = {b"bt_601": "bt601", b"bt_709": "bt709", b"bt_2020": "bt2020", b"bt_2100": "bt2020"}
BT709_TAG = b'<ndi_color_info transfer="bt_709" matrix="bt_709" primaries="bt_709"/>'

_ALIGN = 32  # columns: swscale's vector code handles whole groups, and its rest is less exact
_AREA, _FULL_CHR_H_INP = 0x20, 0x4000  # SWS_... of libswscale/swscale.h; older PyAV has no name for the second one
_SAMPLES = 4096  # pixel pairs of a frame that are looked at for colours that cannot be
_MARGIN = 6.0  # steps of 255 outside the range that compression does not explain
_SHARE = 0.002  # of the samples: fewer colours outside the range decide nothing

_local = threading.local()  # PyAV and reformatters, which cache tables by format and are not thread-safe


def matrix_of_size(size: Size) -> Matrix:
    """The matrix that the NDI SDK documents for a size (width and height of whole frames)."""
    width, height = size
    if width <= 1024 and height <= 576:
        return "bt601"
    return "bt2020" if width > 1920 or height > 1080 else "bt709"


class MatrixChoice:
    """Decides which matrix the frames of one sender are converted with."""

    def __init__(self) -> None:
        self._size: Size = (0, 0)
        self._decided: Matrix | None = None

    def of(self, lines: Plane, size: Size, metadata: bytes | None, has_alpha: bool) -> Matrix:
        """Return the matrix of a frame.

        Args:
            lines: uint8 (H, 2 * W), UYVY.
            size: of the whole frame; a field's lines are half of it.
            metadata: XML of the frame; `<ndi_color_info matrix="...">` decides.
            has_alpha: the runtime sends alpha with RGB only, which it converts with BT.709.
        """
        if metadata and (tag := _TAG.search(metadata)) and (tagged := _TAGS.get(tag[1])):
            return tagged
        of_size = matrix_of_size(size)
        if has_alpha or of_size == "bt709":
            return "bt709"
        if size != self._size:
            self._size, self._decided = size, None
        if self._decided is None and _cannot_be(lines, of_size):
            self._decided = "bt709"
        return self._decided or of_size


def _cannot_be(lines: Plane, matrix: Matrix) -> bool:
    """Whether a frame has colours that are outside of RGB with `matrix`, and inside with BT.709."""
    step = max(1, math.isqrt(lines.size // 4 // _SAMPLES))
    pairs = np.stack([lines[::step, place :: 4 * step] for place in range(3)], axis=-1)
    samples = pairs.astype(np.float32).reshape(-1, 3)
    wrong = _share_outside(samples, matrix)
    return wrong > _SHARE and _share_outside(samples, "bt709") < wrong / 10


def _share_outside(samples: NDArray[np.float32], matrix: Matrix) -> float:
    """Share of samples, float32 (N, 3) with U, Y and V, that are clearly no colour."""
    red_weight, blue_weight = _WEIGHTS[matrix]
    luma, u, v = (samples[:, 1] - 16) / 219, (samples[:, 0] - 128) / 112, (samples[:, 2] - 128) / 112
    red, blue = luma + (1 - red_weight) * v, luma + (1 - blue_weight) * u
    green = (luma - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    rgb = np.stack((red, green, blue)) * 255
    return float(((rgb < -_MARGIN) | (rgb > 255 + _MARGIN)).any(axis=0).mean())


def to_rgba(
    lines: Plane, width: int, matrix: Matrix, alpha: Plane | None = None, is_rounded_down: bool = False
) -> Pixels:
    """Convert UYVY to RGBA. Chroma is not interpolated: neighbours share it, as in the runtime's own conversion.

    Args:
        lines: uint8 (H, 2 * W), UYVY in limited range; W is even.
        width: W, in pixels.
        matrix: of the sender.
        alpha: uint8 (H, W); None is opaque.
        is_rounded_down: the sender is the runtime's conversion of RGB, whose chroma is one step low.

    Returns:
        uint8 (H, W, 4).
    """
    height = lines.shape[0]
    formats = _reformatters()
    packed = _kept_frame("uyvy422", _up(width), height + height % 2)
    _plane(packed, 0)[:height, : 2 * width] = lines
    planar = formats["planar"].reformat(packed, format="yuv422p", threads=1)
    _correct(_plane(planar, 0), _plane(planar, 1), _plane(planar, 2), is_rounded_down)
    space = _COLORSPACES[matrix]
    # POINT without ACCURATE_RND and FULL_CHR_H_INT: the vector code, 16 times as fast and -1 to +2 steps off.
    frame = formats["rgba"].reformat(
        planar, format="rgba", src_colorspace=space, dst_colorspace=space, src_color_range="MPEG",
        dst_color_range="JPEG", interpolation="POINT", threads=1,
    )
    view = _plane(frame, 0)[:height, : 4 * width].reshape(height, width, 4)
    pixels = view if view.flags.c_contiguous else np.ascontiguousarray(view)
    if alpha is not None and alpha.min() < 255:
        pixels[..., 3] = alpha
    return pixels


def to_uyvy(pixels: Pixels) -> Plane:
    """Convert RGBA to UYVY in limited range with BT.709, as every RGB receiver reads it.

    Args:
        pixels: uint8 (H, W, 4), C-contiguous; H and W are even.

    Returns:
        uint8 (H, 2 * W); lines are padded, the bytes in a line are not. The memory is used for nothing else.
    """
    height, width = pixels.shape[:2]
    formats = _reformatters()
    # By way of planes: swscale is quicker with two steps. AREA averages the two pixels that share a chroma sample. With
    # FULL_CHR_H_INP vector code computes it, and else plain C; the result is the same.
    planar = formats["yuv"].reformat(
        _frame_of(pixels), format="yuv422p", src_colorspace="ITU709", dst_colorspace="ITU709", src_color_range="JPEG",
        dst_color_range="MPEG", interpolation=_AREA | _FULL_CHR_H_INP, threads=1,
    )
    packed = formats["uyvy"].reformat(planar, format="uyvy422", interpolation="POINT", threads=1)
    return _plane(packed, 0)[:height, : 2 * width]


def _frame_of(pixels: Pixels) -> Any:
    """The pixels as an `av.VideoFrame`: themselves, or a copy where the vector code would read beyond their end."""
    height, width = pixels.shape[:2]
    if width % _ALIGN == 0:
        return _local.av.VideoFrame.from_numpy_buffer(pixels, format="rgba")
    frame = _kept_frame("rgba", width, height)
    _plane(frame, 0)[:, : 4 * width] = pixels.reshape(height, 4 * width)
    return frame


def deinterlace(field: Plane, is_second: bool) -> Plane:
    """A whole frame from a field, uint8 (H, bytes) to (2 * H, bytes): its lines, and their averages between them."""
    frame = np.empty((2 * field.shape[0], field.shape[1]), np.uint8)
    own, between = (frame[1::2], frame[::2]) if is_second else (frame[::2], frame[1::2])
    own[:] = field
    before, after = (field[:-1], field[1:])
    average = (before >> 1) + (after >> 1) + (before & after & 1)
    if is_second:
        between[0], between[1:] = field[0], average
    else:
        between[-1], between[:-1] = field[-1], average
    return frame


def _correct(luma: Plane, u: Plane, v: Plane, is_rounded_down: bool) -> None:
    """Make up for what rounding down costs, in place.

    The vector code cuts off the parts of a step of each product, which costs a coloured pixel 1.2 steps of 255 on
    average, and a grey one nothing. The runtime's conversion of RGB cuts off the same way: U comes 0.9 steps low, and V
    of colours with much red as well (measured over 125 colours; grey comes as 127, black as 128).
    """
    if is_rounded_down:
        _add(u, u != 128)
        _add(v, v > 128)
    pairs = luma[:, : 2 * u.shape[1]].view(np.uint16)  # both pixels that share a chroma sample
    if luma.max() == 255:
        np.minimum(luma, 254, out=luma)
    pairs += ((u != 128) | (v != 128)).astype(np.uint16) * np.uint16(0x0101)


def _add(plane: Plane, where: NDArray[np.bool_]) -> None:
    """Add one step, in place, up to 255. Adds the mask as bytes: numpy would convert bool, which takes longer."""
    if plane.max() == 255:
        where &= plane < 255
    plane += where.view(np.uint8)


def _up(width: int) -> int:
    return -(-width // _ALIGN) * _ALIGN


def _reformatters() -> dict[str, Any]:
    """This thread's reformatters."""
    if not hasattr(_local, "av"):
        _local.av, _local.frames = pyav.load("ndi"), {}
        reformatter = _local.av.video.reformatter.VideoReformatter
        _local.formats = {name: reformatter() for name in ("planar", "rgba", "yuv", "uyvy")}
    formats: dict[str, Any] = _local.formats
    return formats


def _kept_frame(format_: str, width: int, height: int) -> Any:
    """A frame to write to, the same one each time: to get new memory takes longer than to fill it."""
    kept = _local.frames.get(format_)
    if kept is None or (kept.width, kept.height) != (width, height):
        kept = _local.frames[format_] = _local.av.VideoFrame(width, height, format_)
    return kept


def _plane(frame: Any, index: int) -> Plane:
    """View of a plane's bytes, uint8 (lines, bytes), with line padding; shares its memory."""
    plane = frame.planes[index]
    lines: Plane = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size]
    return lines.reshape(plane.height, plane.line_size)
