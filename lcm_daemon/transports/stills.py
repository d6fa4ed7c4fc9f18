"""Images and folders of images as a clip of the file source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports import pyav
from lcm_daemon.transports.clip import ReportDamage

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class StillsClip:
    """One image, or the images of a folder in the order of their names. Unreadable files are skipped."""

    def __init__(self, paths: list[Path], rate: float, report: ReportDamage) -> None:
        self.interval = 1 / rate
        self._paths, self._report = paths, report
        self._cached: tuple[Path, Pixels] | None = None

    def play(self) -> Iterator[tuple[float, Any]]:
        shown = 0
        problem = ""
        for path in self._paths:
            try:
                pixels = self._read(path)
            except TransportError as error:
                problem = str(error)
                if len(self._paths) > 1:
                    self._report(path, f"{problem}; the image is skipped")
            else:
                yield shown * self.interval, pixels
                shown += 1
        if not shown:
            raise TransportError(problem)

    def _read(self, path: Path) -> Pixels:
        if self._cached is None or self._cached[0] != path:
            self._cached = path, read_image(path)
        return self._cached[1]

    def pixels(self, frame: Any) -> Pixels:
        pixels: Pixels = frame
        return pixels

    def close(self) -> None:
        self._cached = None


def read_image(path: Path) -> Pixels:
    """Read an image file as uint8 (H, W, 4), rotated as its EXIF data says; raises TransportError."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            pixels: Pixels = np.array(ImageOps.exif_transpose(image).convert("RGBA"), np.uint8)
            return pixels
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TransportError(f"file: cannot read {path}: {pyav.reason(error)}") from error
