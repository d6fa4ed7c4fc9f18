"""Frames of a page's camera, for a show with a browser source."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import simplejpeg

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.render_size import MAX_SIDE

MAX_JPEG_BYTES = 4 << 20  # ten times what the page sends at 1080p
MIN_INTERVAL = 1 / 60  # seconds between two frames; a frame that comes sooner is dropped


class FrameSink(Protocol):
    """Destination of the frames: an open sink of a transport."""

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class CameraOwner(Protocol):
    """A client that has started its camera."""

    def on_camera_lost(self) -> None:
        """Another client has started its camera."""


class CameraInput:
    """Decodes the frames of one client, the one that started its camera last, and writes them to a sink."""

    def __init__(self, sink: FrameSink, metrics: Metrics, now: Callable[[], float] = time.perf_counter) -> None:
        self._sink, self._metrics, self._now = sink, metrics, now
        self._owner: CameraOwner | None = None
        self._number = 0
        self._writing = asyncio.Lock()
        self._last_time = -MIN_INTERVAL

    def start(self, client: CameraOwner) -> None:
        """Make this client the owner. The previous owner loses the camera."""
        if self._owner is not None and self._owner is not client:
            self._owner.on_camera_lost()
        self._owner = client

    def stop(self, client: CameraOwner) -> None:
        """Release the camera, if this client is the owner."""
        if self._owner is client:
            self._owner = None

    def is_owner(self, client: CameraOwner) -> bool:
        return self._owner is client

    async def receive(self, jpeg: bytes) -> None:
        """Decode one JPEG frame of the owner and write it to the sink, in a thread: 8 ms at 1080p, 30 times a second.

        Call it again when it has returned.

        Raises:
            ValueError: The data is not a JPEG, or it is too large. The message is one line.
            LcmDaemonError: The sink failed.
        """
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
        if max(width, height) > MAX_SIDE:
            raise ValueError(f"{width}x{height} pixels; at most {MAX_SIDE} per side are allowed")
        now = self._now()
        if now - self._last_time < MIN_INTERVAL:
            self._metrics.count("panel/camera/dropped")
            return
        self._last_time = now
        self._number += 1
        async with self._writing:  # a page that takes over may send its first frame before the last one is written
            await asyncio.to_thread(self._write, jpeg, self._number, now)
        self._metrics.time("panel/camera", self._now() - now)

    def _write(self, jpeg: bytes, number: int, now: float) -> None:
        self._sink.write(Frame(simplejpeg.decode_jpeg(jpeg, "RGBA"), number, now))
