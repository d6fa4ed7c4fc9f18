"""Test card: a moving image that carries its own frame number and time, for trying a show and for measuring one."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, cos, floor, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.clock import Clock, MonotonicClock
from lcm_daemon.core.frame import Frame, Pixels, Size, solid
from lcm_daemon.core.schema import Boolean, Field, Number, PixelSize
from lcm_daemon.transports.base import Probe, Source, Transport

FloatImage = NDArray[np.floating[Any]]  # (H, W, 3), RGB, 0 to 1

# EBU colour bars at 75 %: white, yellow, cyan, green, magenta, red, blue, black.
BARS = ((191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0))
BALLS = ((1.0, 0.55, 0.1), (0.95, 0.1, 0.3), (0.1, 0.75, 0.95))  # colours, RGB
SWING = ((0.90, 0.53), (0.61, 0.97), (1.27, 0.71))  # of each ball: radians per second across and down
SCROLL = 0.05  # of the background: widths per second
SWEEP = 0.25  # of the white line: widths per second

CELL = 8  # smallest side of a cell in pixels: it covers two whole chroma samples of 4:2:0 each way
CELLS_ACROSS = 64
NUMBER_BYTES, TIME_BYTES, SUM_BYTES = 4, 6, 4
STAMP_BITS = 8 * (NUMBER_BYTES + TIME_BYTES + SUM_BYTES)
CONTRAST = 48  # smallest difference, of 255, between the darkest and the brightest cell of a stamp


@dataclass(frozen=True, slots=True)
class Stamp:
    """Frame number and time that a test card carries. time: monotonic seconds, to the microsecond."""

    number: int
    time: float


@dataclass(frozen=True, slots=True)
class _Grid:
    """Layout of the stamp: black and white cells along the upper edge, in rows from the left, highest bit first."""

    cell: int
    across: int
    rows: int

    @classmethod
    def of(cls, size: Size) -> _Grid | None:
        """Return the grid for a frame of `size`, or None if it would cover more than half of the frame."""
        cell = max(CELL, size[0] // CELLS_ACROSS)
        across = min(CELLS_ACROSS, size[0] // cell)
        rows = ceil(STAMP_BITS / across) if across else 0
        return cls(cell, across, rows) if across and 2 * rows * cell <= size[1] else None

    def strip(self, pixels: Pixels) -> Pixels:
        """View of the part of `pixels` that the cells cover: (rows, cell, across, cell, 4)."""
        part = pixels[: self.rows * self.cell, : self.across * self.cell]
        return part.reshape(self.rows, self.cell, self.across, self.cell, 4)


def write_stamp(pixels: Pixels, stamp: Stamp) -> None:
    """Draw `stamp` into `pixels`, uint8 (H, W, 4). A frame that is too small for it (below 128x112) stays unchanged."""
    grid = _Grid.of((pixels.shape[1], pixels.shape[0]))
    if grid is None:
        return
    body = (stamp.number % 2 ** (8 * NUMBER_BYTES)).to_bytes(NUMBER_BYTES, "big")
    body += (round(stamp.time * 1e6) % 2 ** (8 * TIME_BYTES)).to_bytes(TIME_BYTES, "big")
    bits = np.unpackbits(np.frombuffer(body + zlib.crc32(body).to_bytes(SUM_BYTES, "big"), np.uint8))
    cells = np.zeros(grid.rows * grid.across, np.uint8)
    cells[:STAMP_BITS] = bits * np.uint8(255)
    strip = grid.strip(pixels)
    strip[..., :3] = cells.reshape(grid.rows, 1, grid.across, 1, 1)
    strip[..., 3] = 255


def read_stamp(pixels: Pixels) -> Stamp | None:
    """Read the stamp of a test card frame, uint8 (H, W, 4), received over any transport; None without a stamp.

    The stamp survives lossy compression, level changes and mixing with another image as long as black and white stay
    apart. It also survives scaling between sizes of one aspect ratio whose widths are multiples of 64 and at least 512.
    """
    grid = _Grid.of((pixels.shape[1], pixels.shape[0]))
    if grid is None:
        return None
    middle = slice(grid.cell // 4, grid.cell - grid.cell // 4)
    levels = grid.strip(pixels)[:, middle, :, middle, :3].mean(axis=(1, 3, 4)).ravel()[:STAMP_BITS]
    low, high = levels.min(), levels.max()
    if high - low < CONTRAST:
        return None
    code = np.packbits(levels > (low + high) / 2).tobytes()
    body, checksum = code[:-SUM_BYTES], int.from_bytes(code[-SUM_BYTES:], "big")
    if zlib.crc32(body) != checksum:
        return None
    number, micros = int.from_bytes(body[:NUMBER_BYTES], "big"), int.from_bytes(body[NUMBER_BYTES:], "big")
    return Stamp(number, micros / 1e6)


class Card:
    """Draws the test card of any moment. Static parts are drawn once, at construction."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._background = _background(size)
        self._bars = _bars((size[0], max(1, size[1] // 8)))
        self._balls = [_ball(max(4, min(size) // 6), colour) for colour in BALLS]
        self._line = max(2, size[0] // 200)

    def draw(self, seconds: float) -> Pixels:
        """Draw the test card at `seconds` since the start into a new array, uint8 (H, W, 4)."""
        width, height = self.size
        pixels = np.empty((height, width, 4), np.uint8)
        offset = int(seconds * SCROLL * width) % width
        np.copyto(pixels, self._background[:, offset : offset + width])
        pixels[height - self._bars.shape[0] :] = self._bars
        left = int(seconds * SWEEP * width) % width
        pixels[:, left : left + self._line] = 255
        for (colour, through), (across, down) in zip(self._balls, SWING, strict=True):
            side = through.shape[0]
            x = int((width - side) * (0.5 + 0.5 * sin(seconds * across)))
            y = int((height - side) * (0.5 + 0.5 * cos(seconds * down)))
            _blend(pixels[y : y + side, x : x + side], colour, through)
        return pixels


class TestcardSource(Source):
    """Test card frames at `fps`, or one at every read if `fps` is 0. The image depends only on the frame number."""

    __test__ = False  # not a test, despite its name
    is_listed = True
    fields = {
        "size": Field(PixelSize(), (512, 512), "width and height in pixels"),
        "fps": Field(Number(0, 1000), 30.0, "frames per second; 0: one frame at every read"),
        "stamp": Field(Boolean(), True, "show frame number and time as black and white cells along the upper edge"),
    }

    def __init__(self, options: Mapping[str, Any], clock: Clock | None = None) -> None:
        super().__init__(options)
        self._clock = clock or MonotonicClock()
        self._card: Card | None = None
        self._start = 0.0
        self._number = -1

    @classmethod
    def listed_options(cls, label: str) -> Mapping[str, Any] | None:
        return {} if label in ("", "testcard") else None

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return ["testcard"]

    def _open_source(self) -> None:
        self._card = Card(self.options["size"])
        self._start, self._number = self._clock.now(), -1

    def _read(self, timeout: float) -> Frame | None:
        assert self._card is not None
        fps = self.options["fps"]
        if fps and not self._wait(self._start + (self._number + 1) / fps, timeout):
            return None
        now = self._clock.now()
        self._number = max(self._number + 1, floor((now - self._start) * fps))
        pixels = self._card.draw(self._number / (fps or 30.0))
        if self.options["stamp"]:
            write_stamp(pixels, Stamp(self._number, now))
        return Frame(pixels, self._number, now)

    def _wait(self, due: float, timeout: float) -> bool:
        wait = due - self._clock.now()
        self._clock.sleep(min(wait, timeout))
        return wait <= timeout

    def _close(self) -> None:
        self._card = None


def _background(size: Size) -> Pixels:
    """Slanted bands of all hues, darker towards the bottom; twice as wide as the frame, so that they can scroll."""
    x = np.arange(2 * size[0], dtype=np.float32) / size[0]
    y = np.arange(size[1], dtype=np.float32)[:, None] / size[1]
    turn = 2 * np.pi * (x + np.round(y * 64) / 256)
    light = 0.85 - 0.55 * y
    thirds = np.array([0, 1, 2], np.float32) * (2 * np.pi / 3)
    return _opaque((0.55 + 0.45 * np.cos(turn[..., None] - thirds)) * light[..., None])


def _bars(size: Size) -> Pixels:
    pixels = solid(size)
    pixels[..., :3] = np.array(BARS, np.uint8)[np.arange(size[0]) * len(BARS) // size[0]]
    return pixels


def _ball(radius: int, colour: tuple[float, float, float]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """A shaded ball, RGBA: colour times coverage, 0 to 65,535, and transparency, 0 to 256."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32) / radius
    coverage = np.repeat(np.clip((1 - np.hypot(x, y)) * radius, 0, 1)[..., None], 4, axis=2)
    glow = np.clip(1 - np.hypot(x + 0.35, y + 0.4) / 1.5, 0, 1)[..., None]
    shaded = np.ones_like(coverage)
    shaded[..., :3] = np.clip(np.array(colour, np.float32) * (0.25 + 0.9 * glow) + glow**8, 0, 1)
    # Add 255 for what truncation loses, so that the sum stays opaque; it just fits into 16 bits.
    return (shaded * coverage * 255 * 256 + 255).astype(np.uint16), (256 * (1 - coverage)).astype(np.uint16)


def _blend(under: NDArray[np.uint8], colour: NDArray[np.uint16], through: NDArray[np.uint16]) -> None:
    """Blend a ball over a part of the frame, in place."""
    mixed = under * through
    mixed += colour
    mixed >>= 8
    np.copyto(under, mixed, casting="unsafe")


def _opaque(image: FloatImage) -> Pixels:
    pixels = solid((image.shape[1], image.shape[0]))
    np.copyto(pixels[..., :3], image * 255, casting="unsafe")
    return pixels


def _probe() -> Probe:
    return Probe(True, "built in")


TRANSPORT = Transport(source=TestcardSource, sink=None, probe=_probe)
