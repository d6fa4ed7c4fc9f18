"""Routes of the audience server. server.py describes the protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from lcm_daemon.audience import page_messages
from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.lobby import ENDED, JoinRefused, Lobby
from lcm_daemon.audience.rates import PaceLimit
from lcm_daemon.audience.request_limits import RequestLimits
from lcm_daemon.audience.sessions import MOST_TOKEN
from lcm_daemon.audience.visitor_page import CameraFrames, VisitorPage
from lcm_daemon.controllers.allowlist import Allowlist
from lcm_daemon.controllers.panel import assets
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.web.address import network_of
from lcm_daemon.web.origin_guard import OriginGuard

PATH = "/join"
COOKIE = "lcm_visitor"
COOKIE_SECONDS = 86_400
GUESSES_AT_ONCE, GUESS_PAUSE = 20, 2.0  # cookies of one address that are of no session; then one each pause
PAGES_AT_ONCE, PAGE_PAUSE = 10, 1.0  # connections that one session opens, one after another
STATUS: Mapping[str, int] = {"full": 503, "closed": 503, "blocked": 403, "often": 429}  # of a join that is refused
NO_STORE = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff"}


class JoinRoutes:
    """What a visitor's browser may ask for. Paths are looked up in tables; none is opened as a file.

    Args:
        camera: Takes the frames of visitors' cameras.
        throttle: Logs what is refused.
        now: Monotonic seconds.
    """

    def __init__(
        self, config: ServerConfig, lobby: Lobby, camera: CameraFrames, throttle: LogThrottle,
        now: Callable[[], float],
    ) -> None:
        self._config, self._lobby, self._camera, self._throttle = config, lobby, camera, throttle
        self._now = now
        self._guesses = PaceLimit(GUESSES_AT_ONCE, GUESS_PAUSE, now)
        self._pages = PaceLimit(PAGES_AT_ONCE, PAGE_PAUSE, now)
        self.open_pages = 0

    def app(self) -> Starlette:
        """The ASGI app. Raises LcmDaemonError if the page is missing from this installation."""
        files = assets.load_join_page()
        routes: Sequence[Any] = [
            Route("/", self._redirect), Route("/health", self._get_health),
            Route(PATH, self._post_join, methods=["POST"]), Route(f"{PATH}/state", self._get_state),
            WebSocketRoute(f"{PATH}/ws", self._serve_page),
            *(Route(path, _constant(response), methods=["GET"]) for path, response in files.items()),
        ]
        guard = Middleware(
            OriginGuard, bound=self._config.audience.host, metrics=self._lobby.metrics, counter="refused/foreign",
            admits=Allowlist(self._config.network.allow).allows, policy=self._config.network)
        limits = Middleware(RequestLimits, self._throttle, self._now, self._config.audience.per_address)
        return Starlette(routes=routes, middleware=[limits, guard])

    async def _redirect(self, request: Request) -> Response:
        return RedirectResponse(PATH)

    async def _get_health(self, request: Request) -> Response:
        return JSONResponse({"open": self._lobby.is_open}, headers=NO_STORE)

    async def _get_state(self, request: Request) -> Response:
        """What the page shows before a visitor joins."""
        lobby, session = self._lobby, self._lobby.sessions.find(_token(request))
        found = {**page_messages.show(self._config), "open": lobby.is_open, "waiting": len(lobby.queue.waiting()),
                 "wait": round(lobby.queue.wait_at_end()), "full": _seconds(lobby.queue.room_in()),
                 "number": session.number if session else None}
        return JSONResponse(found, headers=NO_STORE)

    async def _post_join(self, request: Request) -> Response:
        """Give the visitor a session, and its secret in a cookie that scripts cannot read."""
        joined = self._lobby.join(_address(request), _token(request))
        if isinstance(joined, JoinRefused):
            headers = {"Retry-After": str(_seconds(joined.seconds))} if joined.seconds else {}
            content = {"refused": joined.why, "seconds": _seconds(joined.seconds)}
            return JSONResponse(content, STATUS[joined.why], headers={**NO_STORE, **headers})
        session, token = joined
        response = JSONResponse({"number": session.number}, 201 if token else 200, headers=NO_STORE)
        if token:
            response.set_cookie(_cookie_name(request), token, COOKIE_SECONDS, path=PATH, httponly=True,
                                samesite="strict", secure=self._is_secure(request))
        return response

    def _is_secure(self, request: Request) -> bool:
        """Whether the browser speaks TLS, to this server, to a known proxy, or at the address that the show names."""
        outside = urlsplit(self._config.audience.address)
        return request.url.scheme == "https" or (
            outside.scheme == "https" and request.headers.get("host", "").lower() == outside.netloc.lower())

    async def _serve_page(self, socket: WebSocket) -> None:
        session = self._lobby.sessions.find(_token(socket))
        if session is None:
            self._throttle.warn("refused/cookie", "a visitor's cookie is of no session: it was guessed, or has ended")
            if not self._guesses.allows(network_of(_address(socket))):
                return await socket.close()  # before it is accepted: the browser's request is answered with 403
            await socket.accept()
            return await socket.close(ENDED, "the session has ended")
        if not self._pages.allows(session.number):
            self._throttle.warn("refused/pages", "one session connects again and again")
            return await socket.close()
        await socket.accept()
        self.open_pages += 1
        try:
            await VisitorPage(socket, session, self._lobby, self._camera).serve()
        finally:
            self.open_pages -= 1


def _seconds(wait: float) -> int:
    return math.ceil(wait)


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _cookie_name(connection: HTTPConnection) -> str:
    """Browsers send the cookies of a host to every port of it."""
    return f"{COOKIE}_{(connection.scope.get('server') or ('', 0))[1]}"


def _token(connection: HTTPConnection) -> str:
    token = connection.cookies.get(_cookie_name(connection), "")
    return token if len(token) < MOST_TOKEN else ""


def _constant(response: Response) -> Any:
    async def answer(request: Request) -> Response:
        return response
    return answer
