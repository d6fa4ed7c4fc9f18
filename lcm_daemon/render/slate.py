"""Slate: a picture file, or a card with the show's name, that the failsafe shows where it has nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.picture_watch import PictureFollower
from lcm_daemon.core.pictures import Picture


class Slate:
    """The show's slate, cropped to its size. The file is read again after it has changed.

    Args:
        path: A picture file; "" for a card with `title`.
        size: Width and height in pixels.
        title: The show's name.

    Attributes:
        pixels: uint8 (H, W, 4).

    Raises:
        LcmDaemonError: The file cannot be read as a picture.
    """

    def __init__(self, path: str, size: Size, title: str) -> None:
        self._size = size
        self._follower: PictureFollower | None = None
        self._on_change: Callable[[Pixels], None] = lambda pixels: None
        if not path:
            self.pixels = draw_slate(size, title)
            return
        try:
            picture = Picture(Path(path))
        except LcmDaemonError as error:
            raise LcmDaemonError(f"slate: {error}") from error
        self._follower = PictureFollower(picture, "slate")
        self.pixels = crop(picture.pixels, size)

    def start(self, on_change: Callable[[Pixels], None]) -> None:
        """Call `on_change` with the new pixels after each change of the file, on another thread, until `stop`."""
        self._on_change = on_change
        if self._follower:
            self._follower.start(self._take)

    def stop(self) -> None:
        if self._follower:
            self._follower.stop()

    def _take(self, picture: Pixels) -> None:
        self.pixels = crop(picture, self._size)
        self._on_change(self.pixels)


def crop(pixels: Pixels, size: Size) -> Pixels:
    """Fill `size`, cropping evenly on both sides; uint8 (H, W, 4)."""
    from PIL import Image, ImageOps

    return np.array(ImageOps.fit(Image.fromarray(pixels), size))


def draw_slate(size: Size, title: str) -> Pixels:
    """A card with the show's name, for shows without a slate of their own."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = size
    y = np.linspace(0.0, 1.0, height)[:, None, None]
    top, bottom = np.array([26, 32, 52]), np.array([64, 40, 72])
    ground = np.broadcast_to(top + (bottom - top) * y, (height, width, 3)).astype(np.uint8)
    image = Image.fromarray(ground).convert("RGBA")
    font = ImageFont.load_default(max(10, height // 16))
    ImageDraw.Draw(image).text((width / 2, height / 2), title, (214, 208, 224, 255), font, "mm")
    return np.array(image)
