"""The panel's web server, on the desk's event loop.

    GET /                   the page and its files
    GET /output             the picture alone, at its full rate, for a screen; /view adds the status
    GET /ws                 WebSocket; protocol below
    GET /ws/output          WebSocket of /output: JPEG frames, and the status as JSON text twice a second; the client
                            answers each frame with "ack" (output_stream.py)
    POST /pin               the pin of `network.access`, for a session (web/access.py)
    GET /stream.mjpg        the output as Motion JPEG, for programs without WebSocket
    GET /frame.jpg          the newest output frame (pages of other origins show both if `network.embed` names them)
    GET /input.jpg          the newest input frame; the first request after a while may be answered with 503
    GET /livez, /readyz, /metrics, /health      for monitors (monitoring.py)
    GET /parameters.json    the parameter table and the commands as JSON
    GET /export/<what>      a file with which another program controls the show (exports.py)
    POST /pictures          a picture for source or guide; DELETE /pictures/3 removes it (pictures.py)
    GET /thumbnails/...     small pictures of sources, of the pictures, and of the looks (looks.py)

WebSocket protocol. The server sends JSON text:

    {"hello": {"version", "show", "you", "role", "camera", "parameters": [...], "commands": [...], "values": {...},
               "status": {...}, "live": {...}, "lists": {...}}}
    {"changes": [{"name", "value", "origin"}, ...]}
    {"status": {...}, "live": {...}}   the whole status, and each number in effect that differs from the value set
    {"lists": {"looks": [{...}, ...]}} the lists that have changed, whole: rows of strings, numbers and switches
    {"beat": 8123.456}                 heartbeat, twice a second: the daemon's monotonic time
    {"table": {"parameters", "commands", "values"}}     the recipe has changed: its parameters and all values
    {"error": "one line"}              a request was rejected, for this reason
    {"camera": "ack"}                  the client's camera frame was processed; it may send the next one
    {"camera": "lost"}                 another client has started its camera; frames of this client are ignored

and JPEG frames as binary messages: of the input after {"frame": "input"}, else of the output. The client sends JSON
text; one message may have several keys:

    {"set": {"strength": 0.7, ...}}
    {"command": "panic"}               or {"command": {"name": "recipe", "arguments": ["sd-turbo"]}}
    {"frame": "ack"}                   the last frame was shown; send the newest
    {"look": "sources"}                the page shows the sources: search them (sources.py); once a second
    {"input": "next"}                  send the next frame of the input; without a request, none is sent
    {"camera": "start"} or "stop"      use this client's camera (only in a show with a browser source)

and JPEG frames of its camera as binary messages, each after the "ack" of the one before (camera.py).

Heartbeats: a message may contain the newest heartbeat that the client had received, as in {"command": "cue/go",
"beat": 8123.456}. A message that arrives more than 3 s later was delayed by a stalled network. It is ignored and
answered with an error, because the user has long seen that it had no effect. A client that receives nothing for 3 s may
assume that the connection is dead and open another one.

`hello` is the first message. `you` is the origin of this client's changes ("panel/3"). `role` is "play", or "view" for
a client whose requests are refused because it has not entered the pin. `camera` is true if the show has a browser
source. A parameter has `name kind default help low high unit step logarithmic glide choices glided_by group needs`;
`low` or `high` is null if the range is open; `needs` is what it needs to have an effect (core/needs.py). A command has
`name help arguments`; an argument is described like a parameter.

Frames: the first one is sent unasked, each further one after an "ack", and it is the newest at that time. A slow
browser gets fewer frames, never older ones. A hidden page that does not acknowledge costs nothing.

Echoes: a change is sent to every client except the one that requested it, whose control shows the value already. That
client is sent the change too if its page shows another value: at once if the value was clamped or refused, with the
echo if a change of another client crossed its own, and within two seconds if its request was cancelled (by a panic, for
example). If several changes of one parameter wait for a slow client, only the newest is sent. See echo_filter.py.

Limits: 64 KiB per message (4 MiB for camera frames); 32 clients, WebSockets and streams together, of which those that
only look may be 24, the network 28, and one of its addresses 16, or 8 that may only look (web/seats.py; a further
WebSocket is closed with code 1013, or takes the place of one that is silent); 192 connections, 48 from one address, and
5 s for a whole request (web/limits.py); of a viewer, 60 messages a second are read; a client that does not take what it
is sent within 5 s, or does not answer a ping within 20 s, is disconnected. Host and Origin are checked
(web/origin_guard.py). An invalid message is counted ("panel/malformed") and answered with an error. It does not end the
connection, except if it is too long.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from lcm_daemon.controllers.allowlist import Allowlist
from lcm_daemon.controllers.network import read_origin
from lcm_daemon.controllers.panel import assets, messages
from lcm_daemon.controllers.panel.camera import MAX_JPEG_BYTES, CameraInput, FrameSink
from lcm_daemon.controllers.panel.client import PageClient
from lcm_daemon.controllers.panel.connections import Connections
from lcm_daemon.controllers.panel.exports import ExportRoutes
from lcm_daemon.controllers.panel.lamps import Lamps
from lcm_daemon.controllers.panel.looks import LookThumbnails
from lcm_daemon.controllers.panel.monitoring import NO_STORE, OPEN_PATHS, Monitoring
from lcm_daemon.controllers.panel.output_stream import OutputStream
from lcm_daemon.controllers.panel.pictures import PictureRoutes
from lcm_daemon.controllers.panel.preview import JpegFrame, Preview
from lcm_daemon.controllers.panel.sources import SourceSearch
from lcm_daemon.controllers.sessions import shared_sessions
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.network import VIEW
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change
from lcm_daemon.exports.surface import Surface
from lcm_daemon.web.access import Access, AccessGate
from lcm_daemon.web.certificate import ServerCertificate
from lcm_daemon.web.one_by_one import OneByOne
from lcm_daemon.web.origin_guard import OriginGuard, Receive, Scope, Send
from lcm_daemon.web.seated import Seated
from lcm_daemon.web.seats import Seats
from lcm_daemon.web.server import MESSAGE_LIMIT, WebServer

CLIENT_LIMIT = 32
FULL = f"the panel has {CLIENT_LIMIT} clients already, or this address has too many"
EVERY_ORIGIN = "cross-origin"  # value of Cross-Origin-Resource-Policy, https://fetch.spec.whatwg.org
BOUNDARY = b"--picture\r\n"
Client = TypeVar("Client", WebSocket, Request)


class PanelServer:
    """Routes and connections of the panel.

    Args:
        options: the panel's keys of the show, complete.
        sink: destination of a page's camera frames; None if the show has no browser source.
        certificate: the certificate for https; None for plain HTTP.
        surface: sources, sinks and ports of the show, for exports; None if they are not known.
    """

    def __init__(
        self, controls: ControlState, options: Mapping[str, Any], sink: FrameSink | None = None,
        certificate: ServerCertificate | None = None, surface: Surface | None = None,
    ) -> None:
        self._controls, self._network = controls, controls.network
        self._host, self._port = str(options["host"]), int(options["port"])
        self._monitors: Sequence[str] = options["monitors"]
        self._preview = Preview(controls, float(options["preview_fps"]), int(options["preview_quality"]))
        self._output = OutputStream(controls, int(options["output_quality"]))
        self._input_preview = Preview(
            controls, float(options["preview_fps"]), int(options["preview_quality"]), shows="input")
        self._camera = CameraInput(sink, controls.metrics) if sink else None
        limit, tls = MAX_JPEG_BYTES if sink else MESSAGE_LIMIT, certificate.context if certificate else None
        self._server = WebServer(
            "panel", "panel", limit, tls, controls.metrics, self._network.proxies, sockets=controls.sockets)
        self._connections = Connections(controls, self._host, certificate)
        self._lamps = Lamps(controls)
        self._pictures, self._sources = PictureRoutes(controls, _may_play), SourceSearch(controls)
        self._exports = ExportRoutes(controls, surface)
        self._clients: dict[str, PageClient] = {}
        self._seats = Seats(CLIENT_LIMIT)
        self._client_numbers = itertools.count(1)
        self._unsubscribe: Callable[[], None] | None = None

    async def start(self) -> int:
        """Listen and serve; return the port. Raises LcmDaemonError if it cannot listen or the page is missing."""
        port = await self._server.start(self._app(), self._host, self._port)
        await self._connections.start(port)
        self._unsubscribe = self._controls.subscribe(
            on_changes=self._on_changes, on_status=self._on_status, on_table=self._on_table,
            on_panic=self._on_panic, on_refusal=self._on_refusal, on_list=self._on_list,
        )
        self._lamps.start()
        self._exports.update_list()
        self._sources.update_list()
        await self._pictures.update_list()
        return port

    async def stop(self) -> None:
        """Close all connections and the port."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        self._preview.close()
        self._input_preview.close()
        await self._output.close()
        await self._connections.stop()
        await self._lamps.stop()
        await self._sources.stop()
        await self._server.stop()

    def _app(self) -> Starlette:
        page = assets.load_page(embed=self._network.embed)
        access = Access(self._network, shared_sessions(self._controls))
        routes = [
            WebSocketRoute("/ws", self._seated(WebSocket, self._serve_websocket)),
            WebSocketRoute("/ws/output", self._seated(WebSocket, self._serve_output, watches=True)),
            Route("/stream.mjpg", self._seated(Request, self._serve_stream, watches=True), methods=["GET"]),
            Route("/frame.jpg", self._get_frame),
            Route("/input.jpg", self._get_input),
            Route("/parameters.json", self._get_parameters),
            *Monitoring(self._controls, self._monitors, lambda: len(self._seats), access.knows).routes(),
            *self._pictures.routes(), *self._sources.routes(), *LookThumbnails(self._controls).routes(),
            *self._exports.routes(),
            *(Route(path, _constant(response)) for path, response in page.items()),
        ]
        guard = Middleware(
            OriginGuard, bound=self._host, metrics=self._controls.metrics, counter="panel/foreign",
            admits=Allowlist(self._network.allow).allows, policy=self._network)
        gate = Middleware(
            AccessGate, access=access, metrics=self._controls.metrics, counter="panel/no access", takes_pin=True,
            secure=self._network.tls is not None, open_paths=OPEN_PATHS)
        return Starlette(routes=routes, middleware=[Middleware(OneByOne), guard, gate])

    def _seated(
        self, kind: Callable[[Scope, Receive, Send], Client], serve: Callable[[Client], Awaitable[None]],
        watches: bool = False,
    ) -> Seated:
        """An app that serves a client of this kind if there is a seat. watches: Whether it only shows pictures."""
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await serve(kind(scope, receive, send))

        return Seated(app, self._seats, self._controls.metrics, "panel", FULL, watches)

    async def _serve_websocket(self, socket: WebSocket) -> None:
        await socket.accept()
        origin = f"panel/{next(self._client_numbers)}"
        if socket.scope["role"] == VIEW:
            self._controls.viewers.add(origin)
        client = self._clients[origin] = PageClient(
            socket, origin, self._controls, self._preview, self._camera, self._on_look,
            self._input_preview)
        try:
            with self._connections.connected(origin, "console", socket):
                await client.serve()
        finally:
            del self._clients[origin]
            self._controls.viewers.discard(origin)

    async def _serve_output(self, socket: WebSocket) -> None:
        await socket.accept()
        with self._connections.connected(f"screen/{next(self._client_numbers)}", "screen", socket):
            await self._output.serve(socket)

    async def _serve_stream(self, request: Request) -> None:
        content_type = "multipart/x-mixed-replace; boundary=picture"
        headers = self._frame_headers(request)
        if request.method == "HEAD":  # without a body, its client would read nothing, and keep its seat for ever
            answer = Response(media_type=content_type, headers=headers)
        else:
            answer = StreamingResponse(self._stream_parts(), media_type=content_type, headers=headers)
        await answer(request.scope, request.receive, request._send)

    async def _stream_parts(self) -> AsyncIterator[bytes]:
        """The boundary follows each frame at once, because some readers show a frame only when they see its end."""
        yield BOUNDARY
        jpeg = None
        while (jpeg := await self._preview.next(jpeg)) is not None:
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg.data)}\r\n\r\n"
            yield head.encode() + jpeg.data + b"\r\n" + BOUNDARY

    async def _get_frame(self, request: Request) -> Response:
        return self._answer_frame(request, self._preview.newest(), "no frame has been rendered yet\n")

    async def _get_input(self, request: Request) -> Response:
        return self._answer_frame(request, self._input_preview.newest(), "no input frame has come yet\n")

    def _answer_frame(self, request: Request, jpeg: JpegFrame | None, missing: str) -> Response:
        if jpeg is None:
            return PlainTextResponse(missing, 503, headers={**NO_STORE, "Retry-After": "1"})
        headers = {**self._frame_headers(request), "X-Frame-Number": str(jpeg.number)}
        return Response(jpeg.data, media_type="image/jpeg", headers=headers)

    def _frame_headers(self, request: Request) -> dict[str, str]:
        """Headers of a frame: whether the page that asks for it, named by its Referer, may show it."""
        headers = {**NO_STORE, "Content-Security-Policy": assets.frame_ancestors(self._network.embed)}
        if self._network.embeds(read_origin(request.headers.get("referer", ""), path=True) or ""):
            headers["Cross-Origin-Resource-Policy"] = EVERY_ORIGIN
        return headers

    async def _get_parameters(self, request: Request) -> Response:
        return JSONResponse(messages.describe_table(self._controls), headers=NO_STORE)

    def _on_changes(self, changes: list[Change]) -> None:
        for client in self._clients.values():
            client.on_changes(changes)

    def _on_refusal(self, refusal: Refusal) -> None:
        client = self._clients.get(refusal.origin)
        if client is not None:
            client.on_refusal(refusal.text)

    def _on_panic(self) -> None:
        for client in self._clients.values():
            client.on_panic()

    def _on_table(self) -> None:
        message = messages.table(self._controls)
        for client in self._clients.values():
            client.on_table(message)

    def _on_look(self, what: str) -> None:
        if what == "sources":
            self._sources.look()

    def _on_list(self, name: str) -> None:
        for client in self._clients.values():
            client.on_list(name)

    def _on_status(self, status: Mapping[str, Value]) -> None:
        message = messages.status(self._controls)
        for client in self._clients.values():
            client.on_status(message)


def _may_play(connection: HTTPConnection) -> bool:
    """Whether a client may change the show."""
    return connection.scope.get("role") != VIEW


def _constant(response: Response) -> Any:
    async def answer(request: Request) -> Response:
        return response
    return answer
