"""Preview: the output as JPEG pictures. Each is encoded once for all who watch, and only while somebody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import simplejpeg

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.frame import Frame


@dataclass(frozen=True, eq=False)
class Jpeg:
    """One encoded picture. `number` and `time` are its frame's."""

    data: bytes
    number: int
    time: float


class Preview:
    """Encodes `board.frame` on demand, at most `fps` times a second for the viewers.

    Encoding happens on the event loop: 0.6 ms at 512x512 and 4.6 ms at 1080p (simplejpeg, quality 80), which is less
    than a hand-over to a thread could save. No frame is kept, so that its memory can go back to where it came from.
    """

    def __init__(self, controls: ControlState, fps: float, quality: int, now: Callable[[], float] = time.perf_counter) -> None:
        self._board, self._quality, self._now = controls, quality, now
        self._period = 1.0 / fps
        self._slot = -1
        self._shown: Jpeg | None = None  # the picture of the current slot: the same for all viewers
        self._newest: Jpeg | None = None
        self._closed = asyncio.Event()

    def newest(self) -> Jpeg | None:
        """The newest output picture; None as long as there is none."""
        frame = self._board.frame
        if frame is None:
            return self._newest
        if self._newest is None or (self._newest.number, self._newest.time) != (frame.number, frame.time):
            self._newest = self._encode(frame)
        return self._newest

    async def next(self, seen: Jpeg | None) -> Jpeg | None:
        """Wait for a picture other than `seen` (the newest wins); None once the preview is closed."""
        while not self._closed.is_set():
            jpeg = self._at(int(self._now() / self._period))
            if jpeg is not None and jpeg is not seen:
                return jpeg
            await self._sleep()
        return None

    def close(self) -> None:
        """Let go of every viewer that waits."""
        self._closed.set()

    def _at(self, slot: int) -> Jpeg | None:
        if slot != self._slot:
            self._slot, self._shown = slot, self.newest()
        return self._shown

    async def _sleep(self) -> None:
        until = (int(self._now() / self._period) + 1) * self._period
        try:
            async with asyncio.timeout(max(until - self._now(), 0.001)):
                await self._closed.wait()
        except TimeoutError:
            return

    def _encode(self, frame: Frame) -> Jpeg:
        started = self._now()
        data = simplejpeg.encode_jpeg(frame.pixels, self._quality, "RGBA", "420")
        self._board.metrics.time("panel/encode", self._now() - started)
        self._board.metrics.count("panel/pictures")
        return Jpeg(data, frame.number, frame.time)
