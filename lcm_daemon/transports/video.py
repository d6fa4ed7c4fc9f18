"""Video files as a clip of the file source, decoded by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports import pyav
from lcm_daemon.transports.clip import Note, ReportDamage
from lcm_daemon.transports.deinterlace import Deinterlacer
from lcm_daemon.transports.display_matrix import UPRIGHT, Orientation, orient, orientation_of
from lcm_daemon.transports.video_colour import ColourConverter, Colours, colours_of
from lcm_daemon.transports.video_decoder import VideoDecoder
from lcm_daemon.transports.wide_colour import WHITE_NITS

JUMP_BACK_SECONDS = 0.5  # times that fall further than this begin again
MOST_STRETCH = 8  # pixels that are narrower or wider than this are a mistake in the file

Look = tuple[Colours, Orientation]  # what a decoder said of a frame


class VideoClip:
    """A video file. Damaged parts are skipped; a longer damaged part ends the pass."""

    def __init__(self, path: Path, fps: float, report: ReportDamage, note: Note) -> None:
        self._av = pyav.load("file")
        self._path, self._fps, self._note = path, fps, note
        self._decoder = VideoDecoder(path, report)
        self.interval = 1 / (fps or self._decoder.rate)
        self.pixel_aspect = 1.0
        self._orientation: Orientation | None = None  # as the newest frame with another rotation says
        self._rotation = 0  # degrees
        self._converter = ColourConverter()

    def play(self) -> Iterator[tuple[float, Any]]:
        due, first, index = 0.0, None, -1  # `due`: seconds since the start of the pass
        deinterlacer = Deinterlacer()
        for index, (time, frame) in enumerate(self._decoder.frames()):
            first = time if first is None else first
            if time is not None and first is not None and time - first < due - JUMP_BACK_SECONDS:
                first = time - due - self.interval  # recordings that were put together: each has its own clock
            due = index * self.interval if self._fps or time is None or first is None else max(due, time - first)
            yield from self._finish(deinterlacer.push(frame, (due, self._look(frame))))
        if index < 0:
            raise TransportError(f"file: cannot play {self._path}: {self._decoder.problem or 'it has no frame'}")
        yield from self._finish(deinterlacer.flush())

    def _look(self, frame: Any) -> Look:
        # Side data ties a frame into a reference cycle: its memory would wait for the garbage collector.
        if self._orientation is None or frame.rotation != self._rotation:
            self._orientation, self._rotation = orientation_of(frame), frame.rotation
        return colours_of(frame, self._decoder.context), self._orientation

    @staticmethod
    def _finish(found: Iterator[tuple[Any, tuple[float, Look]]]) -> Iterator[tuple[float, tuple[Any, Look]]]:
        for frame, (due, look) in found:
            yield due, (frame, look)

    def pixels(self, frame: tuple[Any, Look]) -> Pixels:
        video_frame, (colours, orientation) = frame
        aspect = plausible(self._decoder.pixel_aspect)
        self.pixel_aspect = 1 / aspect if orientation.transposed else aspect
        if colours.name:
            self._note(f"file: {self._path} is {colours.name}; its colours become those of BT.709"
                       + (f", {WHITE_NITS} nits are white" if colours.transfer else ""))
        try:
            pixels = self._converter.to_rgba(video_frame, colours)
        except (self._av.FFmpegError, ValueError) as error:
            raise TransportError(f"file: cannot convert {self._path}: {pyav.reason(error)}") from error
        return pixels if orientation == UPRIGHT else np.ascontiguousarray(orient(pixels, orientation))

    def close(self) -> None:
        self._decoder.close()


def plausible(aspect: Fraction | None) -> float:
    """Width : height of a pixel, from what a file says; None and what can only be a mistake become 1."""
    return float(aspect) if aspect and 1 / MOST_STRETCH <= aspect <= MOST_STRETCH else 1.0
