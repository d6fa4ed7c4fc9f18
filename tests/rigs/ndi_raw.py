"""NDI senders of other vendors that send YUV themselves: any format, matrix, field, aspect ratio, and name in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.transports import ndi_library

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 180, 40))  # top left, top right, bottom left, bottom right
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


@dataclass(frozen=True)
class RawSender:
    """One sender.

    Attributes:
        name: as bytes; it need not be UTF-8.
        size: width and height.
        matrix: a key of WEIGHTS, or "rgb": the runtime converts RGBX; "rgba": it converts RGBA.
        frame_format: of ndi_library.
        aspect: width : height of the picture; 0 for square pixels.
        metadata: XML.
        padding: bytes after each line.
    """

    name: bytes
    size: tuple[int, int]
    matrix: str = "bt709"
    frame_format: int = ndi_library.PROGRESSIVE
    aspect: float = 0.0
    metadata: bytes | None = None
    padding: int = 0


def quarters(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Saturated colours, uint8 (H, W, 4); the last quarter is ochre, with alpha 255."""
    width, height = size
    pixels = np.full((height, width, 4), 255, np.uint8)
    for place, colour in enumerate(COLOURS):
        pixels[place // 2 * height // 2 :, place % 2 * width // 2 :, :3] = colour
    return pixels


def encode(pixels: NDArray[np.uint8], matrix: str) -> NDArray[np.uint8]:
    """UYVY in limited range by the formulas of the ITU, uint8 (H, 2 * W)."""
    red_weight, blue_weight = WEIGHTS[matrix]
    red, green, blue = (pixels[..., channel] / 255 for channel in range(3))
    luma = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    lines = np.empty((*pixels.shape[:2], 2))
    lines[..., 1] = luma * 219 + 16
    lines[:, ::2, 0] = ((blue - luma) / (1 - blue_weight) * 112 + 128)[:, ::2]
    lines[:, 1::2, 0] = ((red - luma) / (1 - red_weight) * 112 + 128)[:, ::2]
    return np.rint(lines).astype(np.uint8).reshape(pixels.shape[0], -1)


def _frame(sender: RawSender) -> tuple[ndi_library.NdiVideo, NDArray[np.uint8]]:
    pixels = quarters(sender.size)
    is_rgb = sender.matrix.startswith("rgb")
    lines = pixels.reshape(len(pixels), -1) if is_rgb else encode(pixels, sender.matrix)
    buffer = np.full((len(lines), lines.shape[1] + sender.padding), 77, np.uint8)
    buffer[:, : lines.shape[1]] = lines
    video = ndi_library.NdiVideo(*sender.size, frame_format=sender.frame_format, metadata=sender.metadata)
    video.four_cc = ndi_library.UYVY if not is_rgb else int.from_bytes(b"RGBX" if sender.matrix == "rgb" else b"RGBA",
                                                                      "little")
    video.rate_n, video.rate_d, video.aspect = 30, 1, sender.aspect
    video.timecode, video.stride, video.data = ndi_library.TIMECODE_SYNTHESIZE, buffer.shape[1], buffer.ctypes.data
    return video, buffer


def send_raw(pipe: Connection, senders: Sequence[RawSender]) -> None:
    """A child: sends all of them, 20 frames a second, until the pipe closes."""
    runtime: Any = ndi_library.runtime()
    videos = []
    for sender in senders:
        settings = ndi_library._SendSettings(sender.name, None, False, False)
        videos.append((runtime._call["send_create"](settings), *_frame(sender)))
    pipe.send("sending")
    while not pipe.poll(0.05):
        for handle, video, _ in videos:
            runtime.send_video(handle, video)
