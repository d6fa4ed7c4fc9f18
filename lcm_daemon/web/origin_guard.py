"""Guard: keeps the pages of other sites away from the daemon's web servers, which a visitor's browser would let in.

A page must neither read them through a name that was pointed at this machine (DNS rebinding) nor open their WebSockets
from elsewhere (which browsers allow). So the Host is an address, which nobody can point elsewhere, or a name of this
machine; and an Origin, where there is one, is the Host itself. What is no browser (curl, a script) sends no Origin.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lcm_daemon.core.metrics import Metrics

Scope = MutableMapping[str, Any]  # these five as https://asgi.readthedocs.io has them
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008  # WebSocket close code, RFC 6455
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::\d+)?")


class Guard:
    """ASGI middleware: 403 for what comes from elsewhere, everything else goes on to `app`.

    bound: what the server listens on, which may be a name.   counter: of `health`, for what is turned away.
    admits: whether a client's address may ask at all.
    """

    def __init__(
        self, app: App, bound: str, metrics: Metrics, counter: str, admits: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._app, self._health, self._counter, self._admits = app, metrics, counter, admits
        name = socket.gethostname().lower()
        self._names = {"localhost", bound.lower(), name, f"{name.partition('.')[0]}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket."""
        problem = self._problem(scope)
        if not problem:
            await self._app(scope, receive, send)
            return
        self._health.count(self._counter)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem})
        else:
            plain = (b"content-type", b"text/plain; charset=utf-8")
            await send({"type": "http.response.start", "status": 403, "headers": [plain]})
            await send({"type": "http.response.body", "body": f"{problem}\n".encode()})

    def _problem(self, scope: Scope) -> str:
        """Why it is turned away; empty where it is not."""
        hosts, origins = (_headers(scope, name) for name in (b"host", b"origin"))
        client = str((scope.get("client") or ("",))[0])
        if not self._admits(client):
            return f"{client} is not among those that the show allows"
        if len(hosts) != 1 or not self.knows(hosts[0]):
            return f"this machine is not called {', '.join(hosts) or 'nothing'}"
        if any(not _same(origin, hosts[0]) for origin in origins):
            return f"this is not for pages of {', '.join(origins)}"
        return ""

    def knows(self, host: str) -> bool:
        """Whether a Host header names this machine; its port may be any, for there may be a tunnel in between."""
        match = _HOST.fullmatch(host.lower())
        name = (match[1] or match[2]) if match else ""
        return name in self._names or _is_address(name)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
