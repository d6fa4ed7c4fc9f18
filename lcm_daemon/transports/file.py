"""File source: a video, an image or a folder of images, played at its own rate."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.pictures import picture_suffixes
from lcm_daemon.core.schema import Boolean, Field, Number, Text
from lcm_daemon.transports import pyav
from lcm_daemon.transports.base import Source, Transport
from lcm_daemon.transports.clip import Clip
from lcm_daemon.transports.file_reports import REPORTS, FileReports
from lcm_daemon.transports.file_watch import FileWatch
from lcm_daemon.transports.stills import FolderClip, PictureClip
from lcm_daemon.transports.video import VideoClip

CATCH_UP_SECONDS = 1.0  # a reader that is later than this continues from the present

_log = logging.getLogger(__name__)


class FileSource(Source):
    """Plays a file in real time. A reader that is too slow misses frames, and their numbers."""

    fields = {
        "path": Field(Text(), help="a video, an image, or a folder of images, shown in the order of their names"),
        "loop": Field(Boolean(), True, "start again at the end; otherwise the last frame is held"),
        "fps": Field(Number(0, 1000), 0.0, "frames per second; 0: the file's own rate, 1 for folders and pages"),
    }

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None, reports: FileReports = REPORTS) -> None:
        super().__init__(options)
        self._clock = clock or MonotonicClock()
        self._reports = reports
        self._clip: Clip | None = None
        self._watch: FileWatch | None = None  # of what may end; pictures that play on watch their own files
        self._frames: Iterator[tuple[float, Any]] = iter(())  # of the current pass
        self._next: tuple[float, Any] | None = None  # clock time at which the next frame is due, and the frame
        self._pass_start = 0.0  # clock time
        self._last_offset = 0.0  # seconds from the start of the pass to its last frame so far
        self._number = -1  # of `_next`

    @classmethod
    def option_problems(cls, options: Mapping[str, Any]) -> Mapping[str, str]:
        return {} if options["path"] else {"path": "empty: a video, an image or a folder of images is wanted"}

    @property
    def is_connected(self) -> bool:
        # Another frame comes, even if that takes minutes; or the last one is held, as `loop: false` asks for.
        return self._next is not None or not self.options["loop"]

    def _open_source(self) -> None:
        path = Path(self.options["path"])
        self._clip = open_clip(path, self.options["fps"], self._reports)
        watched = VideoClip if self.options["loop"] else (VideoClip, PictureClip)
        self._watch = FileWatch(path, self._clock) if isinstance(self._clip, watched) else None
        self._number = -1
        self._begin(self._clip.play())

    def _begin(self, frames: Iterator[tuple[float, Any]]) -> None:
        """Play from the first of `frames`, now."""
        self._frames = frames
        self._fetch_next()
        self._pass_start = self._clock.now()
        if self._next is not None:
            self._next = self._pass_start, self._next[1]

    def _change_file(self) -> None:
        """Open the file again and play it; the old one stays if that fails."""
        path = Path(self.options["path"])
        try:
            clip = open_clip(path, self.options["fps"], self._reports)
        except TransportError as error:
            self._reports.damage(path, f"{error}; the file before it stays")
            return
        try:
            frames = clip.play()
            first = next(frames)
        except TransportError as error:
            clip.close()
            self._reports.damage(path, f"{error}; the file before it stays")
            return
        _log.info("file: %s has changed; the new file plays", path)
        old, self._clip = self._clip, clip
        self._begin(chain([first], frames))
        if old is not None:
            old.close()

    def _read(self, timeout: float) -> Frame | None:
        if self._watch is not None and self._watch.has_changed():
            self._change_file()
        assert self._clip is not None
        if self._next is None:
            self._clock.sleep(timeout)
            return None
        wait = self._next[0] - self._clock.now()
        self._clock.sleep(min(wait, timeout))
        if wait > timeout:
            return None
        self._skip_stall(-wait)
        now = self._clock.now()
        number, (due, frame) = self._number, self._next
        self._fetch_next()
        while self._next is not None and self._next[0] <= now:
            number, (due, frame) = self._number, self._next
            self._fetch_next()
        pixels = self._clip.pixels(frame)
        return Frame(pixels, number, due, self._clip.pixel_aspect)

    def _skip_stall(self, late: float) -> None:
        """After a stall, continue from the present instead of racing through what was missed."""
        if late > CATCH_UP_SECONDS and self._next is not None:
            self._pass_start += late
            self._next = self._next[0] + late, self._next[1]

    def _fetch_next(self) -> None:
        """Decode the next frame; at the end start the next pass, or stop."""
        assert self._clip is not None
        try:
            found = next(self._frames, None)
            if found is None and self.options["loop"]:
                self._pass_start += self._last_offset + self._clip.interval
                self._frames = self._clip.play()
                found = next(self._frames, None)
        except TransportError:
            if self._watch is None or not self._watch.is_other:
                raise
            found = None  # the file is being written: the last frame stays until it can be opened
        self._number += 1
        self._last_offset = found[0] if found else 0.0
        self._next = (self._pass_start + found[0], found[1]) if found else None

    def _close(self) -> None:
        clip, self._clip, self._frames, self._next = self._clip, None, iter(()), None
        if clip is not None:
            clip.close()


def open_clip(path: Path, fps: float, reports: FileReports) -> Clip:
    """Open the file or folder at `path`.

    Args:
        path: a video, an image, or a folder of images.
        fps: frames per second; 0 for the clip's own rate.
        reports: gets what the log says of the files.

    Raises:
        TransportError: the path does not exist, or cannot be played.
    """
    if not path.exists():
        raise TransportError(f"file: {path} does not exist")
    if path.is_dir():
        return FolderClip(path, fps, reports.damage)
    if path.suffix.lower() in picture_suffixes():
        return PictureClip(path, fps, reports.damage)
    return VideoClip(path, fps, reports.damage, reports.note)


TRANSPORT = Transport(source=FileSource, sink=None, probe=pyav.probe, find=pyav.find)
