"""OneByOne: an address has one request computed at a time, and its requests are spaced out: a flood delays itself."""

from __future__ import annotations

import asyncio
import math
import weakref

from lcm_daemon.core.rate_limit import Pace
from lcm_daemon.web.address import network_of
from lcm_daemon.web.origin_guard import App, Message, Receive, Scope, Send

REQUESTS_A_SECOND = 150  # of one address; one that shows the output by /frame.jpg asks 60 times a second
REQUESTS_AT_ONCE = 300  # of one address that asked for little before: a page with its thumbnails
LONGEST_WAIT = 4.0  # seconds that a request waits for its turn; beyond that it is refused
TOO_MANY = "this address asks for too much at once; try again in a few seconds"
TRY_AGAIN_LATER = 1013  # WebSocket close code, RFC 6455 and its IANA registry

_NO_BODY = (b"", b"0")  # lengths of a request without a body


class OneByOne:
    """ASGI middleware. A request waits until the answer to the one before it, of its address, has begun.

    WebSockets and requests with a body wait for none: a body may take long to arrive. An address that asks without a
    pause waits for its turn with all of them, so that the server has time for the others.

    Args:
        app: The ASGI app.
        pace: When a request of an address has its turn; None for REQUESTS_A_SECOND.
    """

    def __init__(self, app: App, pace: Pace | None = None) -> None:
        self._app = app
        self._pace = pace or Pace(REQUESTS_A_SECOND, REQUESTS_AT_ONCE, LONGEST_WAIT)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        address = network_of(str((scope.get("client") or ("",))[0]))
        wait = self._pace.wait(address)
        if wait == math.inf:
            return await _refuse(scope, receive, send)
        if wait:
            await asyncio.sleep(wait)
        if scope["type"] == "websocket" or _has_body(scope):
            return await self._app(scope, receive, send)
        return await self._serve_in_turn(address, scope, receive, send)

    async def _serve_in_turn(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        lock = self._locks.get(address)
        if lock is None:
            lock = self._locks[address] = asyncio.Lock()
        await lock.acquire()
        is_held = True

        async def send_and_release(message: Message) -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                lock.release()
            await send(message)

        try:
            await self._app(scope, receive, send_and_release)
        finally:
            if is_held:
                lock.release()


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that there are too many requests: 429 (RFC 6585)."""
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": TOO_MANY})
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    return await send({"type": "http.response.body", "body": f"{TOO_MANY}\n".encode()})


def _has_body(scope: Scope) -> bool:
    return any(key == b"transfer-encoding" or (key == b"content-length" and value not in _NO_BODY)
               for key, value in scope["headers"])
