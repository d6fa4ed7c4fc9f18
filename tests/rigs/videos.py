"""Video files for tests, encoded on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.frame import Pixels

RED, GREEN, BLUE, WHITE = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 255, 255)

# Flags of a codec context: interlaced DCT, interlaced motion search.
INTERLACED = 1 << 18 | 1 << 29
ONE = 1 << 16
# Display matrices as FFmpeg has them, and the quarters (top left, top right, bottom left, bottom right) that a
# picture of red, green, blue and white then shows.
MATRICES = {
    "mirrored": ((-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), (GREEN, RED, WHITE, BLUE)),
    "flipped": ((ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), (BLUE, WHITE, RED, GREEN)),
    "half a turn": ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), (WHITE, BLUE, GREEN, RED)),
    "clockwise": ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), (BLUE, RED, WHITE, GREEN)),
    "counter-clockwise": ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), (GREEN, WHITE, RED, BLUE)),
    "transposed": ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), (RED, BLUE, GREEN, WHITE)),
    "both": ((0, -ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), (WHITE, GREEN, BLUE, RED)),
}


def quarters(size: tuple[int, int]) -> Pixels:
    """Red, green, blue and white, from the top left to the bottom right."""
    width, height = size
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, WHITE
    return pixels


def seen_quarters(pixels: Pixels) -> list[tuple[int, ...]]:
    """The colours in the middle of the quarters."""
    height, width = pixels.shape[:2]
    return [tuple(int(value) for value in pixels[y, x])
            for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def write_video(
    path: Path, codec: str, pix_fmt: str, pictures: Iterable[Any], rate: int = 10,
    options: dict[str, str] | None = None, prepare: Callable[[Any], None] = lambda stream: None, **conversion: Any,
) -> Path:
    """Encode pictures, uint8 (H, W, 4) or `av.VideoFrame`.

    Args:
        prepare: takes the stream before the first picture.
        conversion: of the pictures, for `av.VideoFrame.reformat`.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        for index, picture in enumerate(pictures):
            if isinstance(picture, np.ndarray):
                picture = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=pix_fmt, **conversion)
            if index == 0:
                stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, pix_fmt
                prepare(stream)
            picture.pts = None
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def interlaced(stream: Any) -> None:
    """For `prepare`: write every picture as two fields."""
    stream.codec_context.flags |= INTERLACED


def combed(count: int, size: tuple[int, int] = (128, 96)) -> list[Pixels]:
    """A white bar that moves between the two fields of each picture."""
    pictures = []
    for number in range(count):
        pixels = np.zeros((size[1], size[0], 4), np.uint8)
        pixels[..., 3] = 255
        for field in (0, 1):
            left = 8 * (2 * number + field)
            pixels[field::2, left : left + 24, :3] = 255
        pictures.append(pixels)
    return pictures


def comb(lines: NDArray[Any]) -> float:
    """How much neighbouring lines of (H, W) differ, 0 to 255."""
    return float(np.abs(np.diff(lines.astype(int), axis=0)).max(axis=0).mean())


def shades(count: int, size: tuple[int, int] = (64, 48)) -> list[Pixels]:
    """Grey pictures; picture n is 5 n. Each has noise of two steps, so that no packet is tiny."""
    noise = np.random.default_rng(1).integers(0, 3, (size[1], size[0], 1), dtype=np.uint8)
    alpha = np.full((size[1], size[0], 1), 255, np.uint8)
    return [np.concatenate([np.repeat(noise + np.uint8(5 * number), 3, 2), alpha], 2) for number in range(count)]


def shade_of(pixels: Pixels) -> int:
    """Which picture of `shades` this is."""
    return round((float(pixels[..., :3].mean()) - 1) / 5)


def damage(path: Path, numbers: Iterable[int]) -> Path:
    """Overwrite packets with noise."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(3)
    for number in numbers:
        at, size = data.index(packets[number]), len(packets[number])
        data[at : at + size] = noise.integers(0, 256, size, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    return path
