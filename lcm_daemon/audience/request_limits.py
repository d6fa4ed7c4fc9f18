"""RequestLimits: how many requests an address may make. One visitor's flood must not delay the answers to others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lcm_daemon.audience.rates import PaceLimit
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.web.address import is_open, network_of
from lcm_daemon.web.origin_guard import App, Receive, Scope, Send

AT_ONCE, PAUSE = 25, 0.4  # requests of a visitor: at once, and seconds until each further one; a page makes six
_NO_BODY = (b"", b"0")  # lengths of a request without a body


class RequestLimits:
    """ASGI middleware that refuses requests beyond the limit, and those with a body, which no route reads.

    A connection is closed with its refusal: what it has sent already is not read. A proxy on this machine speaks for
    many, so that requests of this machine have no limit.

    Args:
        app: The ASGI app to protect.
        throttle: Logs what is refused.
        now: Monotonic seconds.
        per_address: How many visitors one address may have.
    """

    def __init__(self, app: App, throttle: LogThrottle, now: Callable[[], float], per_address: int) -> None:
        self._app, self._throttle = app, throttle
        self._pace = PaceLimit(AT_ONCE * per_address, PAUSE / per_address, now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        address = network_of(str((scope.get("client") or ("",))[0]))
        if is_open(address) and not self._pace.allows(address):
            self._throttle.warn("refused/requests", "an address makes too many requests")
            await _refuse(scope, receive, send, 429, [(b"retry-after", b"10")])
        elif scope["type"] == "http" and _has_body(scope):
            self._throttle.warn("refused/body", "a request has a body")
            await _refuse(scope, receive, send, 413)
        else:
            await self._app(scope, receive, send)


def _has_body(scope: Scope) -> bool:
    return any(key == b"transfer-encoding" or (key == b"content-length" and value not in _NO_BODY)
               for key, value in scope["headers"])


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})  # before it is accepted: the request is answered with 403
        return
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-length", b"0"), (b"connection", b"close"), *headers]})
    await send({"type": "http.response.body", "body": b""})
