"""The web server of OSCQuery: the tree over HTTP, clients over WebSocket."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from lcm_daemon.controllers.oscquery import tree
from lcm_daemon.controllers.oscquery.client import OnPacket, QueryClient
from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import VIEW, NetworkPolicy
from lcm_daemon.core.parameters import Value
from lcm_daemon.web.access import VIEWER_PAUSE, Access, AccessGate
from lcm_daemon.web.one_by_one import OneByOne
from lcm_daemon.web.origin_guard import OriginGuard, Receive, Scope, Send
from lcm_daemon.web.seated import Seated
from lcm_daemon.web.seats import Seats
from lcm_daemon.web.server import WebServer

MAX_CLIENTS = 32
FULL = f"{MAX_CLIENTS} clients are connected already, or this address has too many"
MAX_QUERY = 200  # characters
_NO_STORE = {"Cache-Control": "no-store"}


class QueryServer:
    """Serves the tree and the clients.

    Args:
        present: Returns the tree with the present values.
        has_path: Whether an address exists.
        on_packet: Handles the OSC packets of the clients.
        host_info: The answer to HOST_INFO.
        allows: Whether a host may connect.
        policy: Host names and origins that are allowed.
        access: Who may set values. Only the page's server takes the pin.
        viewers: Holds the origins of the clients that may only look.
        metrics: Counters.
        sockets: Those of the desk before.
    """

    def __init__(
        self, present: Callable[[], tree.Tree], has_path: Callable[[str], bool], on_packet: OnPacket,
        host_info: tree.QueryNode, allows: Callable[[str], bool], policy: NetworkPolicy, access: Access,
        viewers: set[str], metrics: Metrics, sockets: HeldSockets | None = None,
    ) -> None:
        self._present, self._has_path, self._on_packet, self._host_info = present, has_path, on_packet, host_info
        self._allows, self._policy, self._metrics = allows, policy, metrics
        self._access, self._viewers = access, viewers
        self._clients: dict[str, QueryClient] = {}
        self._numbers = itertools.count(1)
        self._seats = Seats(MAX_CLIENTS)
        self._web = WebServer("OSCQuery", "oscquery", metrics=metrics, proxies=policy.proxies, sockets=sockets)

    async def start(self, host: str, port: int) -> int:
        """Start the server and return its port. Raises LcmDaemonError if the port cannot be bound."""
        return await self._web.start(self._app(host), host, port)

    async def stop(self) -> None:
        """Disconnect the clients and close the port."""
        await self._web.stop()

    def notify(self, command: str, path: str) -> None:
        """Notify every client that a path was added, removed or changed."""
        for client in self._clients.values():
            client.notify(command, path)

    def client(self, origin: str) -> QueryClient | None:
        """Return the client that is the origin of a change, or None."""
        return self._clients.get(origin)

    def clear_waiting(self) -> None:
        """Drop the clients' moves that wait."""
        for client in self._clients.values():
            client.echoes.clear_waiting()

    def publish(self, path: str, packet: bytes, value: Value, origin: str) -> None:
        """Send a packet to every client that listens to the path, except the client that is the origin."""
        for client in self._clients.values():
            client.publish(path, packet, value, origin)

    def _app(self, host: str) -> Starlette:
        seated = Seated(self._serve, self._seats, self._metrics, "oscquery", FULL)
        routes = [WebSocketRoute("/{path:path}", seated), Route("/{path:path}", self._get)]
        guard = Middleware(
            OriginGuard, bound=host, metrics=self._metrics, counter="oscquery/foreign", admits=self._allows,
            policy=self._policy)
        gate = Middleware(AccessGate, access=self._access, metrics=self._metrics, counter="oscquery/no access")
        return Starlette(routes=routes, middleware=[Middleware(OneByOne), guard, gate])

    async def _get(self, request: Request) -> Response:
        query = request.url.query
        if len(query) > MAX_QUERY:
            return PlainTextResponse("the query is too long\n", 400)
        names = [part.partition("=")[0] for part in query.split("&") if part]
        if "HOST_INFO" in names:
            return JSONResponse(self._host_info, headers=_NO_STORE)
        present = self._present()
        node = tree.find(present.root, request.url.path)
        if node is None:
            return PlainTextResponse("unknown address\n", 404)
        if node is present.root and not names:
            return Response(present.whole, media_type="application/json", headers=_NO_STORE)
        return _attributes(node, names) if names else JSONResponse(node, headers=_NO_STORE)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        web = WebSocket(scope, receive, send)
        await web.accept()
        origin = f"oscquery/{next(self._numbers)}"
        if web.scope["role"] == VIEW:
            self._viewers.add(origin)
        pause = VIEWER_PAUSE if web.scope["role"] == VIEW else 0.0
        client = self._clients[origin] = QueryClient(
            web, origin, self._on_packet, self._has_path, self._metrics, pause)
        try:
            await client.serve()
        finally:
            del self._clients[origin]
            self._viewers.discard(origin)


def _attributes(node: tree.QueryNode, names: Sequence[str]) -> Response:
    """Answer a query for attributes: 400 for an unknown one, 204 for one that is missing or cannot be read."""
    if not tree.PROPOSED.issuperset(names):
        return PlainTextResponse("unknown attribute\n", 400)
    found = [tree.attribute(node, name) for name in names]
    if None in found or not tree.SERVED.issuperset(names):
        return Response(status_code=204)
    return JSONResponse({key: value for each in found if each for key, value in each.items()}, headers=_NO_STORE)
