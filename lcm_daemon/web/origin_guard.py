"""Origin check: keeps web pages of other sites away from the daemon's web servers.

A visitor's browser would let such pages in: by a name that was pointed at this machine (DNS rebinding), or by a
WebSocket, which browsers open across origins. So the Host header must be an IP address, which cannot be pointed
elsewhere, or a name of this machine; and an Origin header, if present, must equal the Host. Programs that are not
browsers (curl, a script) send no Origin. The show may name further hosts and origins (NetworkPolicy).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import NO_POLICY, NetworkPolicy

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
        policy: further host names and origins.
    """

    def __init__(
        self, app: App, bound: str, metrics: Metrics, counter: str,
        admits: Callable[[str], bool] = lambda address: True, policy: NetworkPolicy = NO_POLICY,
    ) -> None:
        self._app, self._metrics, self._counter, self._admits, self._policy = app, metrics, counter, admits, policy
        name = socket.gethostname().lower()
        self._names = {"localhost", bound.lower(), name, mdns_host(), *policy.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or one WebSocket."""
        problem, key = self._problem(scope)
        if not problem:
            await self._serve(scope, receive, send)
            return
        self._metrics.count(self._counter)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem})
        else:
            plain = (b"content-type", b"text/plain; charset=utf-8")
            await send({"type": "http.response.start", "status": 403, "headers": [plain]})
            remedy = f"to allow it, add it to {key}, in the section network of the show"
            await send({"type": "http.response.body", "body": f"{problem}; {remedy}\n".encode()})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; let a page of an allowed origin read the answer (CORS, https://fetch.spec.whatwg.org)."""
        origin = next(iter(_headers(scope, b"origin")), "")
        if scope["type"] != "http" or origin.lower() not in self._policy.origins:
            await self._app(scope, receive, send)
            return
        cors = [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS":  # the browser asks before it sends the request itself
            allowed = [(b"access-control-allow-methods", b"GET, HEAD"), (b"access-control-allow-headers", b"*")]
            await send({"type": "http.response.start", "status": 204, "headers": cors + allowed})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_readable(message: Message) -> None:
            if message.get("type") == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *cors]}
            await send(message)

        await self._app(scope, receive, send_readable)

    def _problem(self, scope: Scope) -> tuple[str, str]:
        """Reason to refuse a request, and the key of the show that would allow it; ("", "") for none."""
        hosts, origins = (_headers(scope, name) for name in (b"host", b"origin"))
        client = str((scope.get("client") or ("",))[0])
        if not self._admits(client):
            return f"the show does not allow the address {client}", "allow"
        if len(hosts) != 1 or not self.is_own_host(hosts[0]):
            return f"the Host header is not a name of this machine: {', '.join(hosts) or 'missing'}", "hosts"
        if any(not _is_same(origin, hosts[0]) and origin.lower() not in self._policy.origins for origin in origins):
            return f"pages of {', '.join(origins)} may not use this server", "origins"
        return "", ""

    def is_own_host(self, host: str) -> bool:
        """Whether a Host header names this machine. Any port is accepted, because a tunnel may change it."""
        match = _HOST.fullmatch(host.lower())
        name = (match[1] or match[2].removesuffix(".")) if match else ""  # "vm.local." is the same name in full
        return name in self._names or _is_address(name)


def mdns_host() -> str:
    """The name under which mDNS finds this machine (RFC 6762): the first label of its host name, and "local"."""
    return f"{socket.gethostname().lower().partition('.')[0]}.local"


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
