"""Colours of video frames: from every matrix, range, transfer and primaries to 8-bit RGBA.

Colour codes are those of FFmpeg, ISO/IEC 23091-2 and ITU-T H.273.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports import pyav
from lcm_daemon.transports.wide_colour import (
    PRIMARIES,
    TRANSFERS,
    WHITE_OF_RGB,
    WHITE_OF_YUV,
    WIDE_PRIMARIES,
    WideColourFilter,
)

RGB, UNKNOWN, RESERVED = 0, 2, 3
BT709, BT601, BT2020 = 1, 5, 9  # matrices as swscale numbers them (SWS_CS_*)
MATRICES = {1: BT709, 4: 4, 5: BT601, 6: BT601, 7: 7, 9: BT2020, 10: BT2020}  # by H.273 code; 4: FCC, 7: SMPTE 240M
BT2020_PRIMARIES = 9
SD_LINES, SD_COLUMNS = 576, 1024  # a picture without tags is BT.601 up to here, and else BT.709, as in players


@dataclass(frozen=True)
class Colours:
    """What the numbers of a frame mean.

    Attributes:
        matrix: between YUV and RGB, as swscale numbers it.
        range: 1 limited, 2 full, 0 what is usual for the pixel format.
        transfer: HLG or PQ, a key of TRANSFERS; 0 for all others.
        primaries: a key of PRIMARIES if the picture must be converted to BT.709; 0 if not.
    """

    matrix: int
    range: int
    transfer: int = 0
    primaries: int = 0

    @property
    def name(self) -> str:
        """As "HLG, BT.2020", for the log; empty for usual colours."""
        names = [TRANSFERS[self.transfer].name] if self.transfer else []
        return ", ".join([*names, PRIMARIES[self.primaries].name] if self.primaries else names)


def colours_of(frame: Any, context: Any) -> Colours:
    """Read the tags of a frame; what it lacks comes from the tags of its stream, or else from its size.

    Args:
        frame: `av.VideoFrame`.
        context: `av.VideoCodecContext` of the stream, which has the container's tags.
    """
    matrix, transfer, primaries = (
        _tag(frame, context, name) for name in ("colorspace", "color_trc", "color_primaries")
    )
    transfer = transfer if transfer in TRANSFERS else 0
    if transfer and primaries not in PRIMARIES:
        primaries = BT2020_PRIMARIES
    if not transfer and primaries not in WIDE_PRIMARIES:
        primaries = 0
    known = MATRICES.get(matrix)
    if known is None:
        is_large = frame.height > SD_LINES or frame.width > SD_COLUMNS
        known = BT2020 if primaries == BT2020_PRIMARIES else BT709 if is_large else BT601
    return Colours(known, frame.color_range or context.color_range, transfer, primaries)


def _tag(frame: Any, context: Any, name: str) -> int:
    value = int(getattr(frame, name, UNKNOWN))  # PyAV before 17 has some tags at the stream only
    return int(getattr(context, name)) if value in (RGB, UNKNOWN, RESERVED) else value


class ColourConverter:
    """Converts frames of one video to RGBA. It keeps its tables, and belongs to one thread."""

    def __init__(self) -> None:
        self._reformatter = pyav.load("file").video.reformatter.VideoReformatter()
        self._filter: WideColourFilter | None = None
        self._filter_key: tuple[Any, ...] = ()

    def to_rgba(self, frame: Any, colours: Colours) -> Pixels:
        """Convert an `av.VideoFrame`.

        Args:
            frame: of any software pixel format.
            colours: as `colours_of` reads them.

        Returns:
            uint8 (H, W, 4), straight alpha where the file has alpha.
        """
        is_wide = colours.transfer or colours.primaries
        converted = self._reformatter.reformat(
            frame, format=_planar_format(frame) if is_wide else "rgba",
            src_colorspace=colours.matrix, src_color_range=colours.range or None,
        )
        if not is_wide:
            # PyAV's array keeps the padding of lines whose width is not a multiple of 4, such as 854.
            return np.ascontiguousarray(converted.to_ndarray())
        white = WHITE_OF_RGB if frame.format.is_rgb else WHITE_OF_YUV
        key = frame.width, frame.height, converted.format.name, colours, white
        if self._filter is None or self._filter_key != key:
            self._filter = WideColourFilter(converted, colours.transfer, colours.primaries, white)
            self._filter_key = key
        return self._filter.apply(converted)


def _planar_format(frame: Any) -> str:
    has_alpha = any(component.is_alpha for component in frame.format.components)
    return "gbrap16le" if has_alpha else "gbrp16le"
