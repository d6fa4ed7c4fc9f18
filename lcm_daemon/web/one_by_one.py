"""OneByOne: an address has one request computed at a time, with pauses between: its flood delays the answers to itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lcm_daemon.web.address import network_of
from lcm_daemon.web.origin_guard import App, Message, Receive, Scope, Send

PAUSES = 5.0  # times the processor time of its last request, for which an address waits
AHEAD = 0.6  # seconds of these pauses that are owed without waiting: a page with its thumbnails takes 0.1 s
WEBSOCKET = 0.002  # seconds that count of a request whose work comes later
MOST_WAITING = 256  # requests of one address; no more can wait on its connections, unless it does not wait for answers
MOST_KNOWN = 64  # addresses whose pauses are remembered, unless more of them have requests
TOO_MANY = "this address asks for too much at once; try again in a few seconds"
TRY_AGAIN_LATER = 1013  # WebSocket close code, RFC 6455 and its IANA registry

_NO_BODY = (b"", b"0")  # lengths of a request without a body


class _Address:
    """The requests of one address.

    Attributes:
        lock: Of the request that is computed.
        number: Requests that are computed or wait.
        due: When the pauses that it owes are over, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.lock, self.number, self.due = asyncio.Lock(), 0, 0.0

    def is_active(self, now: float) -> bool:
        """Whether it has requests, or owes pauses."""
        return self.number > 0 or self.due > now


class _Turn:
    """The turn of one request. `end` must follow `begin`, also where that has failed; it may be called twice."""

    def __init__(self, address: _Address) -> None:
        self._address = address
        self._is_counted = self._has_lock = False
        self._begun: float | None = None  # processor time of this thread

    async def begin(self, after_others: bool) -> None:
        """Wait for it. after_others: Until the requests before it are computed, too."""
        address = self._address
        address.number, self._is_counted = address.number + 1, True
        self._has_lock = after_others and await address.lock.acquire()
        while (wait := address.due - AHEAD - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._begun = time.thread_time()

    def end(self, addresses: Callable[[], int], least: float = 0.0) -> None:
        """Its answer begins.

        Args:
            addresses: Returns how many have requests. The more, the longer the pause.
            least: Seconds that it counts at least.
        """
        address, now = self._address, time.monotonic()
        if self._begun is not None:
            cost = max(time.thread_time() - self._begun, least)
            address.due, self._begun = max(address.due, now) + PAUSES * max(addresses(), 1) * cost, None
        if self._has_lock:
            self._has_lock = False
            address.lock.release()
        if self._is_counted:
            address.number, self._is_counted = address.number - 1, False


class OneByOne:
    """ASGI middleware. A request waits for those before it of its address, until the answer to the last one has begun.

    After each comes a pause, the longer the more addresses have requests, but for the first few: all that flood
    together take a sixth of the server's time. WebSockets and requests with a body have the pauses only: they may take
    long.

    Args:
        app: The ASGI app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._addresses: dict[str, _Address] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        address = self._find(network_of(str((scope.get("client") or ("",))[0])))
        if address.number >= MOST_WAITING:
            return await _refuse(scope, receive, send)
        turn = _Turn(address)

        async def send_and_end(message: Message) -> None:
            turn.end(self._active)
            await send(message)

        is_long = scope["type"] == "websocket" or _has_body(scope)
        try:
            await turn.begin(after_others=not is_long)
            if is_long:
                turn.end(self._active, WEBSOCKET)
            return await self._app(scope, receive, send_and_end)
        finally:
            turn.end(self._active)

    def _find(self, name: str) -> _Address:
        address = self._addresses.get(name)
        if address is None:
            if len(self._addresses) >= MOST_KNOWN:
                now = time.monotonic()
                self._addresses = {name: each for name, each in self._addresses.items() if each.is_active(now)}
            address = self._addresses[name] = _Address()
        return address

    def _active(self) -> int:
        """How many addresses have requests, or had some lately."""
        now = time.monotonic()
        return sum(1 for each in self._addresses.values() if each.is_active(now))


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 429, too many requests (RFC 6585)."""
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": TOO_MANY})
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    return await send({"type": "http.response.body", "body": f"{TOO_MANY}\n".encode()})


def _has_body(scope: Scope) -> bool:
    return any(key == b"transfer-encoding" or (key == b"content-length" and value not in _NO_BODY)
               for key, value in scope["headers"])
