"""Camera: the pictures that a page sends, for a show whose source is the browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import simplejpeg

from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import Metrics

LARGEST = 2048  # pixels of a side
BYTES = 1 << 20  # of one picture: ten times what the page sends
FASTEST = 1 / 60  # seconds between two pictures; what comes sooner is dropped


class FrameSink(Protocol):
    """Destination of the received frames: an open sink of a transport."""

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class Holder(Protocol):
    """A client whose pictures count, until another one starts its camera."""

    def lose_camera(self) -> None: ...


class Camera:
    """Decodes the pictures of whoever started a camera last, and hands them on."""

    def __init__(self, sink: FrameSink, metrics: Metrics, now: Callable[[], float] = time.perf_counter) -> None:
        self._sink, self._health, self._now = sink, metrics, now
        self._holder: Holder | None = None
        self._number = 0
        self._taken = -FASTEST

    def start(self, client: Holder) -> None:
        """From now on this client's pictures count, and nobody else's."""
        if self._holder is not None and self._holder is not client:
            self._holder.lose_camera()
        self._holder = client

    def stop(self, client: Holder) -> None:
        """This client sends no more, or has gone."""
        if self._holder is client:
            self._holder = None

    def holds(self, client: Holder) -> bool:
        """Whether it is this client's pictures that count."""
        return self._holder is client

    def take(self, jpeg: bytes) -> None:
        """One JPEG picture. Raises ValueError with one line where it is none, LcmDaemonError where it cannot go on.

        Decoding happens on the event loop: 1.3 ms at 640x480, of which a page sends 30 a second.
        """
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
        if max(width, height) > LARGEST:
            raise ValueError(f"a picture of {width}x{height}: {LARGEST} pixels a side are the most")
        now = self._now()
        if now - self._taken < FASTEST:
            self._health.count("panel/camera/dropped")
            return
        self._taken = now
        pixels = simplejpeg.decode_jpeg(jpeg, "RGBA")
        self._number += 1
        self._sink.write(Frame(pixels, self._number, now))
        self._health.time("panel/camera", self._now() - now)
