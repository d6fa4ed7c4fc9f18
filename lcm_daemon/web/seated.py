"""Seated: an ASGI app that serves only clients that have a seat, and only while they read."""

from __future__ import annotations

import asyncio
import contextlib

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.web.origin_guard import App, Message, Receive, Scope, Send
from lcm_daemon.web.seats import ClientSeat, Seats

SEND_SECONDS = 5.0  # within which a client must take what it is sent
TRY_AGAIN_LATER = 1013  # WebSocket close code, RFC 6455 and its IANA registry
SLOW = "this client does not read what it is sent, or has lost its place to another one"


class Seated:
    """Wraps an app for WebSockets, or for streams.

    Args:
        app: The app. It is cancelled when its client loses the seat.
        seats: The seats of the server.
        metrics: Counters.
        path: Of the counters "<path>/full" and "<path>/slow".
        full: Why a client gets no seat.
        watches: Whether its clients only show pictures.
    """

    def __init__(self, app: App, seats: Seats, metrics: Metrics, path: str, full: str, watches: bool = False) -> None:
        self._app, self._seats, self._metrics, self._path = app, seats, metrics, path
        self._full, self._watches = full, watches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a client until it leaves, or loses its seat."""
        with self._seats.taken(scope, self._watches) as seat:
            if seat is not None:
                return await self._serve(seat, scope, receive, send)
        self._metrics.count(f"{self._path}/full")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": self._full})
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        return await send({"type": "http.response.body", "body": f"{self._full}\n".encode()})

    async def _serve(self, seat: ClientSeat, scope: Scope, receive: Receive, send: Send) -> None:
        lost = asyncio.Event()
        seat.on_end = lost.set

        async def hear() -> Message:
            message = await receive()
            self._seats.hear(seat)
            return message

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                lost.set()
                await asyncio.Event().wait()  # until this app is cancelled
            if self._watches and scope["type"] == "http":
                self._seats.hear(seat)

        serving = asyncio.ensure_future(self._app(scope, hear, send_in_time))
        waiting = asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                return serving.result()
            self._metrics.count(f"{self._path}/slow")
        finally:
            for task in (serving, waiting):
                task.cancel()
            await asyncio.gather(serving, waiting, return_exceptions=True)
        return await self._end(scope, send)

    async def _end(self, scope: Scope, send: Send) -> None:
        """End a connection that is not read. The server cuts it if its end is not read either."""
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(1.0):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": SLOW})
                else:
                    await send({"type": "http.response.body", "body": b""})
