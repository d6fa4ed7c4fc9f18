"""PictureStore: the pictures that pages have sent, in the state folder. The file of each is named after its number.

Pictures are decoded and written again, so that no file holds what a client has sent. Numbers are looked up among the
files that are there; nothing from the network becomes a path.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.paths import state_folder
from lcm_daemon.core.pictures import PictureError, read_given

MOST_FILE_BYTES = 32 << 20  # of a picture as it is sent
MOST_GIVEN_PIXELS = 50_000_000  # of a picture as it is sent: phones have up to 50 million
MOST_PICTURES = 24
MOST_STORED_BYTES = 256 << 20  # of all files
LONGEST_SIDE = 2048  # pixels of a stored picture
THUMBNAIL_SIZE: Size = (192, 108)  # pixels, at most
_NAME = re.compile(r"picture-([1-9][0-9]?)\.(?:jpg|png)")


@dataclass(frozen=True)
class StoredPicture:
    """A picture. version: changes with its content. size: (width, height) in pixels."""

    number: int
    path: Path
    version: int
    size: Size


class PictureStore:
    """Reads, writes and removes the pictures; may be used from any thread. Every call reads or writes the disk.

    Args:
        folder: Where they are; None for `pictures` in the state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._thumbnails: dict[int, tuple[int, bytes | None]] = {}  # version and JPEG by number
        self._drawing = threading.Lock()

    @property
    def folder(self) -> Path:
        """Raises LcmDaemonError if this user has no state folder."""
        return self._folder or state_folder() / "pictures"

    def files(self) -> Mapping[int, Path]:
        """The files by number, in order; empty where the folder cannot be read."""
        found: dict[int, Path] = {}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and path.stat().st_size:
                    found[int(match[1])] = path
        return dict(sorted(found.items()))

    def pictures(self) -> list[StoredPicture]:
        """Every picture, in the order of the numbers."""
        found = []
        for number, path in self.files().items():
            with contextlib.suppress(OSError, ValueError):
                found.append(StoredPicture(number, path, path.stat().st_mtime_ns, _size_of(path)))
        return found

    def add(self, data: bytes) -> int:
        """Store a picture and return its number, the lowest that is free.

        Args:
            data: The content of a picture file, as a client has sent it.

        Raises:
            PictureError: It cannot be read or stored, or there are too many; one line for the page.
        """
        if len(data) > MOST_FILE_BYTES:
            raise PictureError(f"the file is too large: at most {MOST_FILE_BYTES >> 20} MiB are accepted")
        if len(self.files()) >= MOST_PICTURES:
            raise PictureError(f"there are {MOST_PICTURES} pictures already; remove one")
        suffix, content = _encode(read_given(data, MOST_GIVEN_PIXELS))
        with self._lock:
            try:
                return self._write(suffix, content)
            except OSError as error:
                raise PictureError(f"the picture cannot be stored: {error.strerror or error}") from error

    def remove(self, number: int) -> bool:
        """Remove a picture; return whether there was one. Raises PictureError if its file cannot be removed."""
        path = self.files().get(number)
        try:
            if path is not None:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise PictureError(f"picture {number} cannot be removed: {error.strerror or error}") from error
        return path is not None

    def thumbnail(self, number: int) -> bytes | None:
        """A small JPEG of a picture; None if there is none or its file is damaged."""
        path = self.files().get(number)
        if path is None:
            return None
        with self._drawing, contextlib.suppress(OSError):  # once for each picture: viewers may ask for it often
            version = path.stat().st_mtime_ns
            if self._thumbnails.get(number, (0, None))[0] != version:
                self._thumbnails[number] = version, self._draw(path)
            return self._thumbnails[number][1]
        return None

    @staticmethod
    def _draw(path: Path) -> bytes | None:
        from PIL import Image

        try:
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                image.thumbnail(THUMBNAIL_SIZE)
                return _jpeg(image, 80)
        except (OSError, ValueError):
            return None

    def _write(self, suffix: str, content: bytes) -> int:
        files = self.files()
        if sum(path.stat().st_size for path in files.values()) + len(content) > MOST_STORED_BYTES:
            raise PictureError(f"the pictures take {MOST_STORED_BYTES >> 20} MiB already; remove one")
        number = next((number for number in range(1, MOST_PICTURES + 1) if number not in files), None)
        if number is None:
            raise PictureError(f"there are {MOST_PICTURES} pictures already; remove one")
        write_atomically(self.folder / f"picture-{number}{suffix}", content)
        return number


def _encode(pixels: Pixels) -> tuple[str, bytes]:
    """The suffix and content of a picture's file: JPEG, or PNG where pixels are transparent."""
    from PIL import Image

    is_opaque = bool((pixels[..., 3] == 255).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]) if is_opaque else pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    if is_opaque:
        return ".jpg", _jpeg(image, 92)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=4)
    return ".png", out.getvalue()


def _jpeg(image: Any, quality: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def _size_of(path: Path) -> Size:
    from PIL import Image

    with Image.open(path, formats=("JPEG", "PNG")) as image:
        width, height = image.size
    return width, height
