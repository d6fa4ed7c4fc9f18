"""Guard: lets in only requests that were meant for this panel, by their Host and Origin headers.

A page of another site must neither read the panel through a name that was pointed at this machine (DNS rebinding) nor
open its WebSocket from a visitor's browser (cross-site WebSocket hijacking, which browsers allow). So the Host must be
one of the panel's own names, and an Origin, where one is given, must be the Host itself. What is no browser (curl, a
script) sends no Origin and passes.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lcm_daemon.health import Health

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = frozenset({"0.0.0.0", "::"})
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::\d+)?")


class Guard:
    """ASGI middleware: 403 for what fails the checks, everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, bound: str, health: Health) -> None:
        self._app, self._health = app, health
        self._names = LOOPBACK | {bound.lower()}
        self._everywhere = bound in EVERYWHERE
        if self._everywhere:
            name = socket.gethostname().lower()
            self._names |= {name, f"{name}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope)
        if problem is None:
            await self._app(scope, receive, send)
            return
        self._health.count("panel/foreign")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": problem})
        else:
            await PlainTextResponse(problem + "\n", 403)(scope, receive, send)

    def _problem(self, scope: Scope) -> str | None:
        hosts, origins = (_headers(scope, name) for name in (b"host", b"origin"))
        if len(hosts) != 1 or not self.knows(hosts[0]):
            return f"this panel is not called {', '.join(hosts) or 'nothing'}"
        if any(not _same(origin, hosts[0]) for origin in origins):
            return f"pages of {', '.join(origins)} may not use this panel"
        return None

    def knows(self, host: str) -> bool:
        """Whether a Host header names this panel; its port may be any, for there may be a tunnel in between.

        Where the panel listens on every address, any address will do: only names can be pointed elsewhere.
        """
        match = _HOST.fullmatch(host.lower())
        name = (match[1] or match[2]) if match else ""
        return name in self._names or (self._everywhere and _is_address(name))


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
