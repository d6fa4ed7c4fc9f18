"""File: a video, a picture or a folder of pictures, played in its own time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels
from lcm_daemon.core.schema import Boolean, Field, Number, Text
from lcm_daemon.transports import pyav
from lcm_daemon.transports.base import Source, Transport

PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
STILL_RATE = 10.0  # a single picture is given so many times a second
FOLDER_RATE = 1.0  # pictures a second
VIDEO_RATE = 30.0  # where a video does not say
CATCH_UP = 1.0  # seconds; whoever is later than that plays on from where it is

_log = logging.getLogger(__name__)


class Clip(Protocol):
    """Something that can be played again and again."""

    interval: float  # seconds from the last picture to the end

    def play(self) -> Iterator[tuple[float, Any]]:
        """One pass: each picture and its time in seconds since the beginning. TransportError if nothing can be read."""

    def pixels(self, picture: Any) -> Pixels:
        """What `play` gave, as uint8 (H, W, 4)."""

    def close(self) -> None: ...


class Stills:
    """Pictures of a folder, sorted by name, or a single one. What cannot be read is left out."""

    def __init__(self, paths: list[Path], rate: float) -> None:
        self.interval = 1 / rate
        self._paths = paths
        self._last: tuple[Path, Pixels] | None = None

    def play(self) -> Iterator[tuple[float, Any]]:
        given = 0
        problem = ""
        for path in self._paths:
            try:
                picture = self._read(path)
            except TransportError as error:
                problem = str(error)
                _log.warning("%s", problem)
            else:
                yield given * self.interval, picture
                given += 1
        if not given:
            raise TransportError(problem)

    def _read(self, path: Path) -> Pixels:
        if self._last is None or self._last[0] != path:
            self._last = path, read_picture(path)
        return self._last[1]

    def pixels(self, picture: Any) -> Pixels:
        pixels: Pixels = picture
        return pixels

    def close(self) -> None:
        self._last = None


class Video:
    """A video file through PyAV. It plays as far as it can be decoded."""

    def __init__(self, path: Path, fps: float) -> None:
        av = pyav.load("file")
        self._path = path
        self._errors: type[Exception] = av.FFmpegError
        try:
            # Files alone: a playlist must not send the daemon to the network.
            self._container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise TransportError(f"file: cannot open {path}: {pyav.reason(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise TransportError(f"file: {path} holds no video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._fps = fps
        self.interval = 1 / (fps or float(self._stream.average_rate or VIDEO_RATE))
        self._played = False

    def play(self) -> Iterator[tuple[float, Any]]:
        due, first, index = 0.0, None, -1
        try:
            if self._played:
                self._container.seek(0)
            self._played = True
            for index, frame in enumerate(self._container.decode(self._stream)):
                first = frame.time if first is None else first
                timed = not self._fps and frame.time is not None and first is not None
                due = max(due, frame.time - first) if timed else index * self.interval
                yield due, frame
        except self._errors as error:
            if index < 0:
                raise TransportError(f"file: cannot play {self._path}: {pyav.reason(error)}") from error
            _log.warning("file: %s is damaged after %.1f s: %s", self._path, due, pyav.reason(error))
        if index < 0:
            raise TransportError(f"file: {self._path} holds no picture")

    def pixels(self, picture: Any) -> Pixels:
        try:
            pixels = picture.to_ndarray(format="rgba")
        except (self._errors, ValueError) as error:
            raise TransportError(f"file: cannot convert {self._path}: {pyav.reason(error)}") from error
        # FFmpeg gives the angle of the display matrix, counter-clockwise.
        return np.ascontiguousarray(np.rot90(pixels, int(picture.rotation) // 90))

    def close(self) -> None:
        self._container.close()


class FileSource(Source):
    """Plays a file. Whoever reads too slowly misses pictures, and their numbers."""

    fields = {
        "path": Field(Text(), help="a video, a picture, or a folder of pictures, shown in the order of their names"),
        "loop": Field(Boolean(), True, "begin again at the end; otherwise the last picture is held"),
        "fps": Field(Number(0, 1000), 0.0, "pictures a second; 0: a video's own rate, 1 for a folder"),
    }

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__(options)
        self._clock = clock or MonotonicClock()
        self._clip: Clip | None = None
        self._pass: Iterator[tuple[float, Any]] = iter(())
        self._next: tuple[float, Any] | None = None  # when it is due, and what
        self._begin = self._last = 0.0  # of this pass: its beginning, and its last picture
        self._number = -1  # of `_next`

    def _open_source(self) -> None:
        self._clip = open_clip(Path(self.options["path"]), self.options["fps"])
        self._pass = self._clip.play()
        self._number = -1
        try:
            self._advance()
        except TransportError:
            self._clip.close()
            raise
        self._begin = self._clock.now()
        self._next = (self._begin, self._next[1]) if self._next else None

    def _read(self, timeout: float) -> Frame | None:
        assert self._clip is not None
        if self._next is None:
            self._clock.sleep(timeout)
            return None
        wait = self._next[0] - self._clock.now()
        self._clock.sleep(min(wait, timeout))
        if wait > timeout:
            return None
        self._forgive(-wait)
        now = self._clock.now()
        number, (due, picture) = self._number, self._next
        self._advance()
        while self._next is not None and self._next[0] <= now:
            number, (due, picture) = self._number, self._next
            self._advance()
        return Frame(self._clip.pixels(picture), number, due)

    def _forgive(self, late: float) -> None:
        """After a stall, go on from here instead of racing through what was missed."""
        if late > CATCH_UP and self._next is not None:
            self._begin += late
            self._next = self._next[0] + late, self._next[1]

    def _advance(self) -> None:
        """Fetch the next picture; at the end begin again, or stop."""
        assert self._clip is not None
        found = next(self._pass, None)
        if found is None and self.options["loop"]:
            self._begin += self._last + self._clip.interval
            self._pass = self._clip.play()
            found = next(self._pass, None)
        self._number += 1
        self._last = found[0] if found else 0.0
        self._next = (self._begin + found[0], found[1]) if found else None

    def _close(self) -> None:
        if self._clip is not None:
            self._clip.close()
        self._clip, self._pass, self._next = None, iter(()), None


def open_clip(path: Path, fps: float) -> Clip:
    """The clip at `path`, given `fps` pictures a second (0: as it is); raises TransportError."""
    if not path.exists():
        raise TransportError(f"file: {path} is not there")
    if path.is_dir():
        paths = sorted(found for found in path.iterdir() if found.suffix.lower() in PICTURES)
        if not paths:
            raise TransportError(f"file: the folder {path} has no pictures ({', '.join(sorted(PICTURES))})")
        return Stills(paths, fps or FOLDER_RATE)
    if path.suffix.lower() in PICTURES:
        return Stills([path], fps or STILL_RATE)
    return Video(path, fps)


def read_picture(path: Path) -> Pixels:
    """A picture file as uint8 (H, W, 4), upright as its camera was held; raises TransportError."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            pixels: Pixels = np.array(ImageOps.exif_transpose(image).convert("RGBA"), np.uint8)
            return pixels
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TransportError(f"file: cannot read {path}: {pyav.reason(error)}") from error


TRANSPORT = Transport(source=FileSource, sink=None, probe=pyav.probe)
