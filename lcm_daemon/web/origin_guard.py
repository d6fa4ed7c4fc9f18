"""Origin check: keeps web pages of other sites away from the daemon's web servers.

A visitor's browser would let such pages in: by a name that was pointed at this machine (DNS rebinding), or by a
WebSocket, which browsers open across origins. So the Host header must be an IP address, which cannot be pointed
elsewhere, or a name of this machine; and an Origin header, if present, must equal the Host. Programs that are not
browsers (curl, a script) send no Origin.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lcm_daemon.core.metrics import Metrics

Scope = MutableMapping[str, Any]  # these five types as in https://asgi.readthedocs.io
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008  # WebSocket close code, RFC 6455
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::\d+)?")


class OriginGuard:
    """ASGI middleware that answers requests of foreign origin with 403, and passes all others to `app`.

    Args:
        app: the ASGI app to protect.
        bound: the address that the server listens on, which may be a name.
        metrics: counters to report to.
        counter: path of the counter of refused requests.
        admits: whether a client's address may connect at all.
    """

    def __init__(
        self, app: App, bound: str, metrics: Metrics, counter: str,
        admits: Callable[[str], bool] = lambda address: True,
    ) -> None:
        self._app, self._metrics, self._counter, self._admits = app, metrics, counter, admits
        name = socket.gethostname().lower()
        self._names = {"localhost", bound.lower(), name, f"{name.partition('.')[0]}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        problem = self._problem(scope)
        if not problem:
            await self._app(scope, receive, send)
            return
        self._metrics.count(self._counter)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem})
        else:
            plain = (b"content-type", b"text/plain; charset=utf-8")
            await send({"type": "http.response.start", "status": 403, "headers": [plain]})
            await send({"type": "http.response.body", "body": f"{problem}\n".encode()})

    def _problem(self, scope: Scope) -> str:
        """Reason to refuse a request, or ""."""
        hosts, origins = (_headers(scope, name) for name in (b"host", b"origin"))
        client = str((scope.get("client") or ("",))[0])
        if not self._admits(client):
            return f"the show does not allow the address {client}"
        if len(hosts) != 1 or not self.is_own_host(hosts[0]):
            return f"the Host header is not a name of this machine: {', '.join(hosts) or 'missing'}"
        if any(not _is_same(origin, hosts[0]) for origin in origins):
            return f"pages of {', '.join(origins)} may not use this server"
        return ""

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header names this machine. Any port is accepted, because a tunnel may change it."""
        match = _HOST.fullmatch(host.lower())
        name = (match[1] or match[2]) if match else ""
        return name in self._names or _is_address(name)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _is_same(origin: str, host: str) -> bool:
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
