"""Picture files: still and animated, of every kind that Pillow opens. All parts that read pictures use this module.

The colours are converted to sRGB (`core/picture_colours.py`), the picture is turned as its EXIF data says, and a very
large one is made smaller while it is read.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lcm_daemon.core.errors import LcmDaemonError, MissingIntegration
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.picture_colours import to_srgb

Version = tuple[int, int, int]  # size, modification time, and number of a file; another one means another content

MOST_PIXELS = 32_000_000  # a larger picture is made smaller: no output is that large
MOST_BYTES = 1 << 30  # memory of a picture in its full size, as Pillow holds it
MOST_DRAFT_PIXELS = 1_000_000_000  # of a JPEG, which is made smaller while it is decoded
SNAPSHOT_BYTES = 1 << 28  # a file up to this size is read whole, so that writing to it does not disturb
SHORT_SECONDS, USUAL_SECONDS = 0.01, 0.1  # a frame of at most the first duration lasts the second, as in browsers

# These run other programs, are videos, or only name a plug-in that reads them.
NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PALM", "PDF", "WMF"}
LAYERS = {"HEIF", "MPO", "PSD"}  # kinds whose further frames are layers, previews or other views
PAGES = {"DCX", "IM", "SPIDER", "TIFF"}  # kinds whose frames have no duration
HEIF_SUFFIXES = {".heic", ".heif", ".hif"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
HEIF_INSTALL = 'pip install "lcm-daemon[heif]"'

GIVEN_KINDS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP")  # of pictures from a network

# What Pillow's readers raise for damaged files, next to OSError.
_DAMAGE = (OSError, EOFError, ValueError, SyntaxError, ArithmeticError, LookupError, TypeError, AttributeError,
           AssertionError, RuntimeError, MemoryError, struct.error, zlib.error)


class PictureError(LcmDaemonError):
    """A picture file cannot be read."""


@cache
def picture_suffixes() -> frozenset[str]:
    """The endings of picture files, as `.png`."""
    known = _pillow().registered_extensions()
    return frozenset({suffix for suffix, kind in known.items() if kind not in NOT_READ} | HEIF_SUFFIXES)


def file_version(path: Path) -> Version | None:
    """What changes when a file is written or replaced; None where it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return version_of(status)


def version_of(status: os.stat_result) -> Version:
    """As `file_version`, of a status that is known."""
    return status.st_size, status.st_mtime_ns, status.st_ino


class Picture:
    """A picture file. Its first frame is read at once, the others while they play.

    Attributes:
        path: The file.
        version: Of the file when it was read.
        pixels: The first frame, uint8 (H, W, 4), sRGB, straight alpha.
        is_animated: Whether `frames` yields more than one.

    Raises:
        PictureError: The file cannot be read as a picture.
        MissingIntegration: It is a HEIC picture, and pillow-heif is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.version = path, file_version(path)
        with self._reading():
            self._image: Any = self._open()
            self._numbers = _frame_numbers(self._image)
            self.pixels = _load(self._image, self._numbers[0])
        self.is_animated = len(self._numbers) > 1
        if not self.is_animated:
            self._image = None

    def frames(self) -> Iterator[tuple[float, Pixels]]:
        """Yield (seconds that the frame lasts, pixels) for each; 0 seconds where the file does not say.

        Raises:
            PictureError: A later frame is damaged.
        """
        if not self.is_animated:
            yield 0.0, self.pixels
            return
        for number in self._numbers:
            with self._reading():
                pixels = _load(self._image, number)
            yield _seconds(self._image), pixels

    def _open(self) -> Any:
        if not self.path.is_file():
            raise ValueError("it is not a file" if self.path.exists() else "it does not exist")
        is_small = self.path.stat().st_size <= SNAPSHOT_BYTES
        source: Any = io.BytesIO(self.path.read_bytes()) if is_small else self.path
        library = _pillow()
        try:
            return library.open(source, formats=[kind for kind in library.ID if kind not in NOT_READ])
        except library.UnidentifiedImageError:
            if is_small and _is_heif(source.getvalue()[:12]) and "HEIF" not in library.ID:
                raise MissingIntegration(str(self.path), "HEIC pictures need pillow-heif", HEIF_INSTALL) from None
            raise ValueError("it is not a picture of a known kind") from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Translate what Pillow raises for a damaged file."""
        try:
            yield
        except (*_DAMAGE, _pillow().DecompressionBombError) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise PictureError(f"cannot read {self.path}: {text.splitlines()[0]}") from error


def read_given(data: bytes, most_pixels: int) -> Pixels:
    """Read the first frame of a picture that came from a network.

    Args:
        data: The content of its file.
        most_pixels: A picture with more is refused before it is decoded.

    Returns:
        uint8 (H, W, 4), sRGB, straight alpha, upright.

    Raises:
        PictureError: It is damaged, too large or of another kind than GIVEN_KINDS; one line.
    """
    library = _pillow()
    try:
        image = library.open(io.BytesIO(data), formats=[kind for kind in GIVEN_KINDS if kind in library.ID])
        if image.width * image.height > most_pixels:
            raise ValueError(f"{image.width} x {image.height} pixels are too many; "
                             f"at most {most_pixels // 1_000_000} million are accepted")
        return _load(image, image.tell())
    except library.UnidentifiedImageError:
        if _is_heif(data[:12]) and "HEIF" not in library.ID:
            raise PictureError(f"HEIC pictures need pillow-heif; install it with: {HEIF_INSTALL}") from None
        raise PictureError("this is not a picture of a known kind; JPEG, PNG, WebP, GIF and others are") from None
    except library.DecompressionBombError as error:
        most = most_pixels // 1_000_000
        raise PictureError(f"its pixels are too many; at most {most} million are accepted") from error
    except _DAMAGE as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise PictureError(f"the picture cannot be read: {text.splitlines()[0]}") from error


@cache
def _pillow() -> Any:
    """Pillow's module `Image`, with all its readers."""
    from PIL import Image

    Image.init()
    Image.MAX_IMAGE_PIXELS = MOST_DRAFT_PIXELS  # `_draft` has a limit of its own, and makes large pictures smaller
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener(thumbnails=False)
    return Image


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS


def _frame_numbers(image: Any) -> list[int]:
    """The frames that play."""
    count = getattr(image, "n_frames", 1)
    if count < 2 or image.format in LAYERS:
        return [image.tell()]
    if image.format == "TIFF":
        size = image.size
        return [number for number in range(count) if _is_page(image, number, size)] or [0]
    if image.info.get("default_image"):  # APNG: what programs show that know no animation
        return list(range(1, count))
    return list(range(count))


def _is_page(image: Any, number: int, size: tuple[int, int]) -> bool:
    """Whether a TIFF's frame is a page like its first, not a small version of one (NewSubfileType, bit 0)."""
    image.seek(number)
    return image.size == size and not int(image.tag_v2.get(254, 0)) & 1


def _seconds(image: Any) -> float:
    """How long the loaded frame lasts; 0 where the file's kind has no durations."""
    if image.format in PAGES:
        return 0.0
    seconds = float(image.info.get("duration") or 0) / 1000
    return seconds if seconds > SHORT_SECONDS else USUAL_SECONDS


def _load(image: Any, number: int) -> Pixels:
    """Load a frame; return its pixels upright, at most MOST_PIXELS."""
    if number != image.tell():  # some readers of single pictures cannot seek
        image.seek(number)
    _draft(image)
    image.load()
    factor = math.ceil(math.sqrt(image.width * image.height / MOST_PIXELS))
    return _upright(to_srgb(image, factor), _orientation(image))


def _draft(image: Any) -> None:
    """Have a large JPEG or JPEG 2000 decoded to a smaller size; raise ValueError for what is still too large."""
    full = image.width, image.height
    shrink = math.sqrt(full[0] * full[1] / MOST_PIXELS)
    if shrink >= 2 and image.format == "JPEG2000":
        image.reduce = int(math.log2(shrink))
        width, height = (side >> image.reduce for side in full)
    elif shrink >= 2 and image.format in ("JPEG", "MPO") and not image.info.get("progressive"):
        image.draft(None, (int(full[0] / shrink), int(full[1] / shrink)))
        width, height = image.size
    else:
        width, height = full
    per_pixel = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    if width * height * per_pixel > MOST_BYTES:
        most = MOST_BYTES // per_pixel // 1_000_000
        raise ValueError(f"{full[0]} x {full[1]} pixels are too many: a {image.format} of its kind may have {most} "
                         "million; make it smaller, or save it as a baseline JPEG")


def _orientation(image: Any) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except _DAMAGE:
        return 1


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror as an EXIF orientation says (CIPA DC-008, table 6)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
