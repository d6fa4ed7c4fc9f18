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

from lcm_daemon.controllers.oscquery import tree as trees
from lcm_daemon.controllers.oscquery.client import Client, Take
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.web.origin_guard import Guard
from lcm_daemon.web.server import TRY_AGAIN_LATER, WebServer

CLIENTS = 32
QUERY = 200  # characters
_STORE = {"Cache-Control": "no-store"}


class Server:
    """Serves what `nodes` gives by address.

    take: gets the OSC packets of the clients.   info: the HOST_INFO.   admits: whether a host may ask.
    """

    def __init__(
        self, nodes: Callable[[], trees.Nodes], take: Take, info: trees.Node, admits: Callable[[str], bool],
        metrics: Metrics,
    ) -> None:
        self._nodes, self._take, self._info, self._admits, self._health = nodes, take, info, admits, metrics
        self._clients: dict[str, Client] = {}
        self._numbers = itertools.count(1)
        self._web = WebServer("OSCQuery", "oscquery")

    async def start(self, host: str, port: int) -> int:
        """Listen and serve; the port. LcmDaemonError with one clear line where it cannot be had."""
        return await self._web.start(self._app(host), host, port)

    async def stop(self) -> None:
        """Let go of clients and port."""
        await self._web.stop()

    def notify(self, command: str, path: str) -> None:
        """Tell every client that a path has been added, removed or changed."""
        for client in self._clients.values():
            client.notify(command, path)

    def tell(self, path: str, packet: bytes, origin: str) -> None:
        """Send a packet to every client that listens to the path, but to the one called `origin`."""
        for client in self._clients.values():
            client.hear(path, packet, origin)

    def _app(self, host: str) -> Starlette:
        routes = [WebSocketRoute("/{path:path}", self._socket), Route("/{path:path}", self._get)]
        guard = Middleware(Guard, bound=host, metrics=self._health, counter="oscquery/foreign", admits=self._admits)
        return Starlette(routes=routes, middleware=[guard])

    async def _get(self, request: Request) -> Response:
        query = request.url.query
        if len(query) > QUERY:
            return PlainTextResponse("the query is too long\n", 400)
        names = [part.partition("=")[0] for part in query.split("&") if part]
        if "HOST_INFO" in names:
            return JSONResponse(self._info, headers=_STORE)
        node = trees.find(trees.tree(self._nodes()), request.url.path)
        if node is None:
            return PlainTextResponse("there is no such address\n", 404)
        return _attributes(node, names) if names else JSONResponse(node, headers=_STORE)

    async def _socket(self, web: WebSocket) -> None:
        await web.accept()
        if len(self._clients) >= CLIENTS:
            self._health.count("oscquery/full")
            return await web.close(TRY_AGAIN_LATER, f"there are {CLIENTS} clients already")
        origin = f"oscquery/{next(self._numbers)}"
        client = self._clients[origin] = Client(web, origin, self._take, self._knows, self._health)
        try:
            return await client.run()
        finally:
            del self._clients[origin]

    def _knows(self, path: str) -> bool:
        return path in self._nodes()


def _attributes(node: trees.Node, names: Sequence[str]) -> Response:
    """Attributes alone: 400 for what is none, 204 for one that is not here or cannot be read."""
    if not trees.PROPOSED.issuperset(names):
        return PlainTextResponse("there is no such attribute\n", 400)
    found = [trees.attribute(node, name) for name in names]
    if None in found or not trees.SERVED.issuperset(names):
        return Response(status_code=204)
    return JSONResponse({key: value for each in found if each for key, value in each.items()}, headers=_STORE)
