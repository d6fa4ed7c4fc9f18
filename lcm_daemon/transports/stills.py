"""Pictures and folders of pictures as a clip of the file source."""

from __future__ import annotations

import logging
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lcm_daemon.core.errors import MissingIntegration, TransportError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.picture_watch import PictureWatch
from lcm_daemon.core.pictures import Picture, PictureError, Version, file_version, picture_suffixes
from lcm_daemon.transports.clip import ReportDamage

STILL_RATE = 10.0  # frames per second of a single still picture, and how often its file is looked at
LEAST_STILL_RATE = 2.0  # so that a new file is seen within two seconds with any `fps`
TOLERANCE = 1e-6  # seconds; of sums of durations
PAGE_SECONDS = 1.0  # how long a picture of a folder, or a page of a TIFF, is shown
_UNREADABLE = (PictureError, MissingIntegration)

_log = logging.getLogger(__name__)


class PictureClip:
    """One picture, still or animated. Its file is read again when it changes; until that can be read, the old plays."""

    pixel_aspect = 1.0

    def __init__(self, path: Path, fps: float, report: ReportDamage) -> None:
        self._path, self._fps, self._report = path, fps, report
        self.interval = 1 / STILL_RATE
        self._looked = 0.0  # seconds since the start of the pass; below 0: in an earlier one
        try:
            self._picture = Picture(path)
        except _UNREADABLE as error:
            raise TransportError(f"file: {error}") from error
        self._watch = PictureWatch(self._picture)

    def play(self) -> Iterator[tuple[float, Any]]:
        yield from self._play_frames() if self._picture.is_animated else self._repeat()

    def _repeat(self) -> Iterator[tuple[float, Any]]:
        """Yield the still for as long as it is one."""
        self.interval = 1 / max(self._fps or STILL_RATE, LEAST_STILL_RATE)
        at = 0.0
        while not self._picture.is_animated:
            yield at, self._picture.pixels
            at += self.interval
            self._look(at)

    def _play_frames(self) -> Iterator[tuple[float, Any]]:
        """Yield the frames of one pass, long ones more than once; end early if the file is another."""
        at = 0.0
        try:
            for seconds, pixels in self._picture.frames():
                duration = 1 / self._fps if self._fps else seconds or PAGE_SECONDS
                repeats = math.ceil(duration * LEAST_STILL_RATE)
                self.interval = duration / repeats
                for _ in range(repeats):
                    yield at, pixels
                    at += self.interval
                    if self._look(at):
                        return
            self._looked -= at
        except PictureError as error:
            if at == 0.0:
                raise TransportError(f"file: {error}") from error
            self._report(self._path, f"file: {error}; it plays up to there")

    def _look(self, at: float) -> bool:
        """Look at the file, but not more often than STILL_RATE.

        Args:
            at: Seconds since the start of the pass.

        Returns:
            Whether there is a new picture.
        """
        if at - self._looked < 1 / STILL_RATE - TOLERANCE:
            return False
        self._looked = at
        try:
            picture = self._watch.look()
        except _UNREADABLE as error:
            self._report(self._path, f"file: {error}; the picture before it stays")
            return False
        if picture is None:
            return False
        self._picture, self._looked = picture, 0.0  # a new pass begins, or the still is another
        return True

    def pixels(self, frame: Any) -> Pixels:
        pixels: Pixels = frame
        return pixels

    def close(self) -> None:
        """Nothing is open between two frames."""


class FolderClip:
    """The pictures of a folder in natural order of their names. Unreadable ones are skipped.

    Every picture is read when its turn comes, and the folder is listed for each pass, and within one after it has
    changed. New and changed pictures are so seen at the next pass at the latest. An animation plays once.
    """

    pixel_aspect = 1.0

    def __init__(self, folder: Path, fps: float, report: ReportDamage) -> None:
        self._folder, self._fps, self._report = folder, fps, report
        self.interval = 1 / fps if fps else PAGE_SECONDS
        self._end = 0.0  # seconds from the start of the pass to the end of what was yielded
        self._paths: list[Path] = []
        self._listed: Version | None = None  # of the folder, when it was listed
        self._picture: Picture | None = None  # the newest
        self._pixels: Pixels | None = None  # the newest, shown again if a pass finds nothing
        pictures = list_pictures(folder)
        if not pictures:
            raise TransportError(f"file: the folder {folder} has no images ({', '.join(sorted(picture_suffixes()))})")
        others = sorted(path.name for path in set(folder.iterdir()) - set(pictures) if not path.name.startswith("."))
        if others:
            _log.info("file: the folder %s: %d files are not images: %s", folder, len(others), ", ".join(others[:5]))

    def play(self) -> Iterator[tuple[float, Any]]:
        self._end, problem = 0.0, f"the folder {self._folder} has no images any more"
        path: Path | None = None
        while path := self._next_path(path):
            try:
                yield from self._play_picture(path)
            except PictureError as error:
                problem = str(error)
                self._report(path, f"file: {error}; the image is skipped")
            except MissingIntegration as error:
                problem = str(error)
                self._report(self._folder, f"file: {error}; images of that kind in {self._folder} are skipped")
        if self._end > 0.0:
            return
        if self._pixels is None:
            raise TransportError(f"file: {problem}")
        self._report(self._folder, f"file: {problem}; the last image stays")
        self.interval = PAGE_SECONDS
        yield 0.0, self._pixels

    def _next_path(self, last: Path | None) -> Path | None:
        """The picture that follows `last`, None at the end of the pass.

        Args:
            last: The picture that was played last; None at the start of a pass.
        """
        version = file_version(self._folder)
        if last is None or version != self._listed:
            self._paths, self._listed = self._list(), version
        place = 0 if last is None else bisect_right(self._paths, natural_key(last), key=natural_key)
        return self._paths[place] if place < len(self._paths) else None

    def _list(self) -> list[Path]:
        """The pictures; none if the folder cannot be listed, such as that of a network drive, but once could."""
        try:
            return list_pictures(self._folder)
        except TransportError:
            if self._pixels is None:
                raise
            return []

    def _play_picture(self, path: Path) -> Iterator[tuple[float, Any]]:
        """Yield a picture's frames, from `_end` on. Without `fps`, it is shown for a second at least."""
        start = self._end
        for seconds, pixels in self._read(path).frames():
            self.interval = 1 / self._fps if self._fps else seconds or PAGE_SECONDS
            self._pixels = pixels
            yield self._end, pixels
            self._end += self.interval
        missing = start + PAGE_SECONDS - self._end
        if missing > 0 and not self._fps:
            self.interval += missing
            self._end += missing

    def _read(self, path: Path) -> Picture:
        """Read a picture, unless it is the one that was read last."""
        picture = self._picture
        if picture is None or picture.path != path or picture.version != file_version(path):
            self._picture = picture = Picture(path)
        return picture

    def pixels(self, frame: Any) -> Pixels:
        pixels: Pixels = frame
        return pixels

    def close(self) -> None:
        self._picture = None


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order, without hidden files; raises TransportError."""
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in picture_suffixes()
                 and not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        raise TransportError(f"file: cannot list {folder}: {error.strerror}") from error
    return sorted(found, key=natural_key)


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key of file names by which frame2 comes before frame10, and capitals do not matter."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name
