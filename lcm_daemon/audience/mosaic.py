"""Pictures side by side in a grid. Scaling one takes 5 to 11 ms at 1920x1080, so a thread does it, not the tick."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Protocol

from lcm_daemon.core.frame import Pixels, Size, solid
from lcm_daemon.transports.resize import fit


class Composer(Protocol):
    """Makes one frame of several pictures."""

    def compose(self, sessions: tuple[int, ...], pictures: Sequence[Pixels]) -> Pixels | None:
        """The newest frame of these sessions, of two or more pictures; None until there is one."""

    def clear(self) -> None:
        """Forget all pictures."""

    def stop(self) -> None:
        """Compose no more."""


class BackgroundMosaic:
    """A mosaic that is composed on a thread, which starts with the first one.

    Args:
        size: (width, height) of the frame in pixels.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._mosaic = Mosaic(size)
        self._changed = threading.Condition()
        self._wanted: tuple[tuple[int, ...], list[Pixels]] | None = None  # what is to be composed
        self._asked: list[Pixels] = []  # what was wanted last
        self._made: tuple[tuple[int, ...], Pixels] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def compose(self, sessions: tuple[int, ...], pictures: Sequence[Pixels]) -> Pixels | None:
        """As of Composer. The frame may lack pictures that came within the last few milliseconds."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mosaic", daemon=True)
            self._thread.start()
        with self._changed:
            if not _same(pictures, self._asked):
                self._asked = list(pictures)
                self._wanted = sessions, self._asked
                self._changed.notify()
            return self._made[1] if self._made is not None and self._made[0] == sessions else None

    def clear(self) -> None:
        """Forget all pictures."""
        if self._asked:
            with self._changed:
                self._wanted, self._asked, self._made, self._mosaic = None, [], None, Mosaic(self._size)

    def stop(self) -> None:
        """End the thread after its present frame."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._stopping:
                    self._changed.wait()
                if self._wanted is None or self._stopping:
                    return
                (sessions, pictures), self._wanted, mosaic = self._wanted, None, self._mosaic
            frame = mosaic.compose(pictures)
            with self._changed:
                if mosaic is self._mosaic:  # not cleared in between
                    self._made = sessions, frame


class Mosaic:
    """Pictures side by side in a grid.

    Args:
        size: (width, height) of the frame in pixels.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._made_of: list[Pixels] = []
        self._made: Pixels | None = None

    def compose(self, pictures: Sequence[Pixels]) -> Pixels:
        """The grid of these pictures, uint8 (H, W, 4), each of the frame's size, cropped to its tile."""
        columns = math.ceil(math.sqrt(len(pictures)))
        rows = math.ceil(len(pictures) / columns)
        is_same_grid = self._made is not None and len(self._made_of) == len(pictures)
        if self._made is not None and _same(pictures, self._made_of):
            return self._made
        frame = self._made.copy() if is_same_grid and self._made is not None else solid(self._size)
        for place, pixels in enumerate(pictures):
            if not is_same_grid or pixels is not self._made_of[place]:
                row, column = divmod(place, columns)
                self._draw(frame, pixels, (column, columns), (row, rows))
        self._made, self._made_of = frame, list(pictures)
        return frame

    def _draw(self, frame: Pixels, pixels: Pixels, across: tuple[int, int], down: tuple[int, int]) -> None:
        """Draw one picture; across, down: place and number of the tiles in this direction."""
        (left, right), (top, bottom) = _edges(*across, self._size[0]), _edges(*down, self._size[1])
        frame[top:bottom, left:right] = fit(pixels, (right - left, bottom - top), "cover")


def _edges(place: int, count: int, length: int) -> tuple[int, int]:
    return place * length // count, (place + 1) * length // count


def _same(pictures: Sequence[Pixels], others: Sequence[Pixels]) -> bool:
    return len(pictures) == len(others) and all(one is other for one, other in zip(pictures, others, strict=True))
