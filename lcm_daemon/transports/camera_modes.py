"""Formats and sizes that a camera offers, from what FFmpeg logs when it is asked for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PREFERRED = "mjpeg"  # over USB, raw pictures above 640x480 come at few frames per second
_NAMES: Mapping[str, str] = {"mjpg": "mjpeg", "jpeg": "mjpeg", "yuyv": "yuyv422", "yuy2": "yuyv422", "uyvy": "uyvy422",
                             "avc": "h264", "h265": "hevc"}
_COMPRESSED = ("mjpeg", "h264", "hevc")


@dataclass(frozen=True)
class CameraMode:
    """One format of a camera. sizes: as texts such as "1280x720" or "1280x720 at 30 fps"."""

    format: str
    sizes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.format} {', '.join(self.sizes)}".strip()


def format_name(text: str) -> str:
    """FFmpeg's name of a format, for "MJPG" or "YUY2" too."""
    name = text.strip().casefold()
    return _NAMES.get(name, name)


def v4l2_format(name: str) -> dict[str, str]:
    return {"input_format": name}


def dshow_format(name: str) -> dict[str, str]:
    return {"vcodec": name} if name in _COMPRESSED else {"pixel_format": name}


def avfoundation_format(name: str) -> dict[str, str]:
    return {} if name in _COMPRESSED else {"pixel_format": name}  # the system decompresses by itself


def v4l2_modes(lines: Iterable[str]) -> list[CameraMode]:
    """Read "Compressed: mjpeg : Motion-JPEG : 640x480 1280x720", or "{32-4096, 2}x{32-2160, 2}" for any size."""
    found = []
    for line in lines:
        match = re.search(r"(?:Raw|Compressed)\s*:\s*(\S+)\s*:.*?:((?: (?:\d+x\d+|\{[^}]*\}x\{[^}]*\}))+)\s*$", line)
        if match:
            found.append(CameraMode(match[1], tuple(re.findall(r"\d+x\d+|\{[^}]*\}x\{[^}]*\}", match[2]))))
    return found


def dshow_modes(lines: Iterable[str]) -> list[CameraMode]:
    """Read "vcodec=mjpeg  min s=640x480 fps=15 max s=1280x720 fps=30"; each mode is logged twice."""
    sizes: dict[str, dict[str, None]] = {}
    for line in lines:
        match = re.search(r"(?:vcodec|pixel_format)=(\S+)\s+min s=\S+ fps=\S+ max s=(\d+x\d+) fps=([\d.]+)", line)
        if match:
            sizes.setdefault(match[1], {})[f"{match[2]} at {float(match[3]):.4g} fps"] = None
    return [CameraMode(name, tuple(found)) for name, found in sizes.items()]


def avfoundation_modes(lines: Iterable[str]) -> list[CameraMode]:
    """Read "1280x720@[1.000000 30.000000]fps" below "Supported modes"."""
    sizes: dict[str, None] = {}
    for line in lines:
        for size, fps in re.findall(r"(\d+x\d+)@\[[\d.]+ ([\d.]+)\]fps", line):
            sizes[f"{size} at {float(fps):.4g} fps"] = None
    return [CameraMode("any format", tuple(sizes))] if sizes else []


def read_modes(
    av: Any, address: str, format_: str, question: Mapping[str, str],
    parse: Callable[[Iterable[str]], list[CameraMode]],
) -> Sequence[CameraMode]:
    """Ask a camera for its modes.

    Args:
        av: the package PyAV.
        address: of the camera, as FFmpeg has it.
        format_: FFmpeg's input format.
        question: options with which opening fails and the modes are logged.
        parse: reads the lines of the log.

    Returns:
        The modes; none if the camera is not there, is in use, or FFmpeg does not log them.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=True) as messages, suppress(av.FFmpegError, OSError, ValueError):
            av.open(address, format=format_, options=dict(question)).close()
    finally:
        av.logging.set_level(level)
    return parse(line for _, _, text in messages for line in text.splitlines())
