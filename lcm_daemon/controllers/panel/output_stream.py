"""The output at its full rate, as JPEG frames on black, for `/output` and `/view`.

JPEG over a WebSocket, because it is the only form that every browser draws on a plain http:// page of the network:
WebCodecs needs https, and WebRTC adds a jitter buffer. `tests/measure/output_page.py` has the figures.

A thread encodes each frame once for all viewers. The stage sends every frame only while there is a viewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.websockets import WebSocket, WebSocketDisconnect

from lcm_daemon.controllers.panel import messages
from lcm_daemon.controllers.panel.preview import encode_frame
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.frame import Frame

IN_FLIGHT = 2  # frames that a viewer may have been sent and not yet shown: one is drawn while the next one travels
STATUS_SECONDS = 0.5  # between two status messages, which are the heartbeat of the connection too


class OutputStream:
    """Encodes every output frame that a viewer is ready for.

    Args:
        quality: JPEG quality, 1 to 100.
    """

    def __init__(self, controls: ControlState, quality: int) -> None:
        self._controls, self._quality = controls, quality
        self._viewers: set[OutputViewer] = set()
        self._pool = ThreadPoolExecutor(1, "output-encoder")  # its thread starts with the first frame
        self._fresh = asyncio.Event()  # a frame has come, or a viewer became ready
        self._encoding: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        """The number of viewers."""
        return len(self._viewers)

    async def serve(self, socket: WebSocket) -> None:
        """Send frames and the status to an accepted socket until it closes."""
        viewer = OutputViewer(socket, self._controls, self._fresh.set)
        self._viewers.add(viewer)
        if self._encoding is None:
            self._unsubscribe = self._controls.subscribe(on_frame=self._fresh.set)
            self._encoding = asyncio.create_task(self._encode_frames())
        self._fresh.set()  # the present frame is new to this viewer
        try:
            await viewer.serve()
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                await self.close()

    async def close(self) -> None:
        """End the encoding. The viewers are closed by their server."""
        self._unsubscribe()
        task, self._encoding = self._encoding, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _encode_frames(self) -> None:
        loop, shown = asyncio.get_running_loop(), None
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            frame = self._controls.frame
            ready = [viewer for viewer in self._viewers if viewer.is_ready]
            if frame is None or not ready:
                continue
            if shown is None or shown[0] is not frame:
                shown = frame, await loop.run_in_executor(self._pool, self._encode, frame)
            for viewer in ready:
                viewer.put(*shown)

    def _encode(self, frame: Frame) -> bytes:
        started = time.perf_counter()
        jpeg = encode_frame(frame.pixels, self._quality)
        self._controls.metrics.time("panel/output", time.perf_counter() - started)
        self._controls.metrics.count("panel/output")
        return jpeg


class OutputViewer:
    """One page that shows the output.

    Args:
        on_ready: Called when the viewer accepts another frame.
    """

    def __init__(self, socket: WebSocket, controls: ControlState, on_ready: Callable[[], None]) -> None:
        self._socket, self._controls, self._on_ready = socket, controls, on_ready
        self._room = IN_FLIGHT
        self._waiting: bytes | None = None
        self._last: Frame | None = None
        self._filled = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether it has shown what it was sent, but for one frame at most, and there is a newer one."""
        return self._room > 0 and self._controls.frame is not self._last

    def put(self, frame: Frame, jpeg: bytes) -> None:
        """Queue a frame, in place of one that waits."""
        self._last, self._waiting = frame, jpeg
        self._filled.set()

    async def serve(self) -> None:
        """Serve the socket until it closes."""
        sending = asyncio.create_task(self._send())
        try:
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                if message.get("text") == "ack" and self._room < IN_FLIGHT:
                    self._room += 1
                    self._on_ready()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self) -> None:
        status_at = 0.0
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):  # `serve` ends too
            while True:
                now = time.monotonic()
                if now >= status_at:
                    status_at = now + STATUS_SECONDS
                    await self._socket.send_text(messages.status(self._controls))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(status_at - now if status_at > now else 0):
                        await self._filled.wait()
                self._filled.clear()
                jpeg, self._waiting = self._waiting, None
                if jpeg is not None:
                    self._room -= 1
                    await self._socket.send_bytes(jpeg)
