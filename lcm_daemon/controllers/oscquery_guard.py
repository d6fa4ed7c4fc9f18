"""The guard of OSCQuery: keeps the pages of other sites out, which a visitor's browser would let in.

A page must neither read the tree through a name that was pointed at this machine (DNS rebinding) nor open the WebSocket
from elsewhere. So the Host is an address or this machine's name, and an Origin, where there is one, is the Host itself.
What is no browser sends no Origin. Whoever asks must be in the show's `allow`, where it has one.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lcm_daemon.health import Health


class Guard:
    """ASGI middleware: 403 for what comes from elsewhere, everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, admits: Callable[[str], bool], health: Health) -> None:
        self._app, self._admits, self._health = app, admits, health
        name = socket.gethostname().lower()
        self._names = {"localhost", name, f"{name.partition('.')[0]}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        client = (scope.get("client") or ("",))[0]
        same = all(_netloc(origin) == host for origin in headers.getlist("origin"))
        if same and self._is_ours(host) and self._admits(client):
            await self._app(scope, receive, send)
            return
        self._health.count("oscquery/foreign")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "not for you"})
        else:
            await PlainTextResponse("this is not for you, or not for pages of other sites\n", 403)(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] or host
        try:
            return bool(ipaddress.IPv4Address(name))
        except ValueError:
            return name in self._names


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return ""
