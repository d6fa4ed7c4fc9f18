"""OneByOne: an address has one request computed at a time, so that its flood delays the answers to itself."""

from __future__ import annotations

import asyncio
import weakref

from lcm_daemon.web.address import network_of
from lcm_daemon.web.origin_guard import App, Message, Receive, Scope, Send

_NO_BODY = (b"", b"0")  # lengths of a request without a body


class OneByOne:
    """ASGI middleware. A request waits until the answer to the one before it, of its address, has begun.

    WebSockets and requests with a body wait for none: a body may take long to arrive.

    Args:
        app: The ASGI app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        if scope["type"] != "http" or _has_body(scope):
            return await self._app(scope, receive, send)
        address = network_of(str((scope.get("client") or ("",))[0]))
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


def _has_body(scope: Scope) -> bool:
    return any(key == b"transfer-encoding" or (key == b"content-length" and value not in _NO_BODY)
               for key, value in scope["headers"])
