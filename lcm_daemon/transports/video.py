"""Video files as a clip of the file source, decoded by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports import pyav
from lcm_daemon.transports.clip import ReportDamage

DEFAULT_VIDEO_RATE = 30.0  # frames per second of a video that does not declare its rate


class VideoClip:
    """A video file, decoded by PyAV. It plays as far as it can be decoded."""

    def __init__(self, path: Path, fps: float, report: ReportDamage) -> None:
        av = pyav.load("file")
        self._path, self._report = path, report
        self._errors: type[Exception] = av.FFmpegError
        try:
            # Files only: a playlist must not send the daemon to the network.
            self._container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise TransportError(f"file: cannot open {path}: {pyav.reason(error)}") from error
        with ExitStack() as on_failure:
            on_failure.callback(self._container.close)
            if not self._container.streams.video:
                raise TransportError(f"file: {path} has no video stream")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
            self._fps = fps
            self.interval = 1 / (fps or float(self._stream.average_rate or DEFAULT_VIDEO_RATE))
            on_failure.pop_all()
        self._is_rewind_due = False

    def play(self) -> Iterator[tuple[float, Any]]:
        due, first, index = 0.0, None, -1
        try:
            if self._is_rewind_due:
                self._container.seek(0)
            self._is_rewind_due = True
            for index, frame in enumerate(self._container.decode(self._stream)):
                first = frame.time if first is None else first
                has_time = not self._fps and frame.time is not None and first is not None
                due = max(due, frame.time - first) if has_time else index * self.interval
                yield due, frame
        except self._errors as error:
            if index < 0:
                raise TransportError(f"file: cannot play {self._path}: {pyav.reason(error)}") from error
            self._report(self._path, f"file: {self._path} is damaged after {due:.1f} s: {pyav.reason(error)}; "
                                     "it plays up to there")
        if index < 0:
            raise TransportError(f"file: {self._path} has no frame")

    def pixels(self, frame: Any) -> Pixels:
        try:
            pixels = frame.to_ndarray(format="rgba")
        except (self._errors, ValueError) as error:
            raise TransportError(f"file: cannot convert {self._path}: {pyav.reason(error)}") from error
        # FFmpeg reports the angle of the display matrix, counter-clockwise.
        return np.ascontiguousarray(np.rot90(pixels, int(frame.rotation) // 90))

    def close(self) -> None:
        self._container.close()
