"""Interlaced video: each frame becomes one whole picture, by FFmpeg's filter `bwdif`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from lcm_daemon.transports import pyav


class Deinterlacer:
    """Passes frames on. From the first interlaced one on they come out of the filter, one frame later.

    Frames of an interlaced video that are not interlaced themselves stay as they are.
    """

    def __init__(self) -> None:
        self._av = pyav.load("file")
        self._graph: Any = None
        self._key: tuple[Any, ...] = ()
        self._labels: deque[Any] = deque()
        self._first: tuple[Any, Any] | None = None  # frame and label, until the second comes
        self._count = 0

    def push(self, frame: Any, label: Any) -> Iterator[tuple[Any, Any]]:
        """Take an `av.VideoFrame` and a label other than None, and yield each finished (frame, its label)."""
        key = frame.width, frame.height, frame.format.name
        if self._graph is not None and key != self._key:
            yield from self.flush()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame, label
                return
            self._build(frame, key)
            self._first = frame, label
            return
        if self._first is not None:
            # The filter finds motion by the frame before. For the first one, the second takes that place.
            self._feed(frame, None)
            self._feed(*self._first)
            self._first = None
        self._feed(frame, label)
        yield from self._pull()

    def _feed(self, frame: Any, label: Any) -> None:
        self._labels.append(label)
        frame.pts, frame.time_base, self._count = self._count, Fraction(1, 1000), self._count + 1
        self._graph.vpush(frame)

    def flush(self) -> Iterator[tuple[Any, Any]]:
        """Yield the frames that are still in the filter."""
        if self._graph is not None:
            if self._first is not None:
                self._feed(*self._first)
            self._graph.vpush(None)
            yield from self._pull()
        self._graph, self._first = None, None
        self._labels.clear()

    def _build(self, frame: Any, key: tuple[Any, ...]) -> None:
        self._key, self._graph = key, self._av.filter.Graph()
        entry = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format,
                                       time_base=Fraction(1, 1000))
        bwdif = self._graph.add("bwdif", mode="send_frame", deint="interlaced")
        self._graph.link_nodes(entry, bwdif, self._graph.add("buffersink")).configure()

    def _pull(self) -> Iterator[tuple[Any, Any]]:
        while self._labels:
            try:
                frame = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return
            label = self._labels.popleft()
            if label is not None:
                yield frame, label
