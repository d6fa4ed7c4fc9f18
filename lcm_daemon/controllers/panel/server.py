"""Panel: the web page of a running show, served on the desk's event loop.

    GET /                   the page and its files
    GET /ws                 WebSocket, the protocol below
    GET /stream.mjpg        the output as Motion JPEG, for anything old
    GET /frame.jpg          the newest picture
    GET /health             status, values, who set them, and counters as JSON
    GET /parameters.json    the parameter table and the commands as JSON

The WebSocket protocol. The server sends, as JSON text:

    {"hello": {"version", "show", "you", "camera", "parameters": [...], "commands": [...], "values": {...},
               "status": {...}, "live": {...}}}
    {"changes": [{"name", "value", "origin"}, ...]}
    {"status": {...}, "live": {...}}   the whole status, every time, and each number in force that is not the one set
    {"beat": 8123.456}                 twice a second, whatever else there is to say: the daemon's clock
    {"table": {"parameters", "commands", "values"}}     the recipe has changed: these are its own, and their values
    {"error": "one line"}              the answer to what could not be taken
    {"camera": "ack"}                  this client's picture has been dealt with: it may send its newest
    {"camera": "lost"}                 this client's pictures do not count: another one has started its camera

and, as binary messages, JPEG pictures. The client sends, as JSON text (several keys in one message are allowed):

    {"set": {"strength": 0.7, ...}}
    {"command": "panic"}               or {"command": {"name": "recipe", "arguments": ["sd-turbo"]}}
    {"frame": "ack"}                   the last picture has been shown: send the newest
    {"camera": "start"} or "stop"      in a show whose source is the browser: this client's pictures count

and, as binary messages, JPEG pictures of its camera, each after the "ack" of the one before (camera.py).

A message may name the newest beat that its client had heard, as in {"command": "cue/go", "beat": 8123.456}. If it
comes more than 3 s after that, it was kept by a network that stood still, and is not obeyed but answered with an
error; whoever gave it has seen by then that nothing happens. A client that hears nothing for 3 s may take the
connection for dead and begin another one.

`hello` comes first, with `you` as the origin that this client's moves carry ("panel/3"), and `camera` true where the
show takes a page's pictures. A parameter holds `name kind
default help low high unit glide choices glided_by`; an open range has null for `low` or `high`. A command holds `name
help arguments`, each argument described as a parameter is.

Pictures: the first comes unasked, each further one only after an "ack", and it is the newest by then. A slow browser
gets fewer pictures, never older ones; a hidden page that does not ack costs nothing.

Echoes: a change is sent to every client but the one who made it, whose control stands there already. It is told all the
same when its page shows something else than what is so: at once when its value was clamped or refused, with the echo
when another's change crossed its own, and within two seconds when its move was voided (by a panic, say).
Of several changes of one parameter that wait for a slow client, the newest is sent. mirror.py decides this.

Limits: 64 KiB a message (1 MiB for pictures where the show takes them), 32 clients (WebSockets and streams together;
the next WebSocket is closed with code 1013), a client that does not answer a ping within 20 s is dropped. Host and
Origin are checked (guard.py). What cannot be read is counted (`panel/malformed`) and answered with an error; it never
ends the connection, but for a message too long.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from lcm_daemon.controllers.panel import assets, messages
from lcm_daemon.controllers.panel.camera import BYTES, Camera, FrameSink
from lcm_daemon.controllers.panel.client import Client
from lcm_daemon.controllers.panel.preview import Preview
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change
from lcm_daemon.web.origin_guard import Guard
from lcm_daemon.web.server import MESSAGE_LIMIT, TRY_AGAIN_LATER, WebServer

CLIENT_LIMIT = 32
NO_STORE = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
BOUNDARY = b"--picture\r\n"


class PanelServer:
    """Routes and connections of the panel.

    Args:
        options: the show's keys of the panel, complete.
        sink: destination of the frames of a page's camera; None if the show has no browser source.
    """

    def __init__(self, controls: ControlState, options: Mapping[str, Any], sink: FrameSink | None = None) -> None:
        self.controls, self.options = controls, options
        self._clients: dict[str, Client] = {}
        self._streams = 0
        self._numbers = itertools.count(1)
        self._camera = Camera(sink, controls.metrics) if sink else None
        self._server = WebServer("panel", "panel", BYTES if sink else MESSAGE_LIMIT)
        self._serving = False

    async def start(self) -> int:
        """Listen and serve; return the port. Raises LcmDaemonError if it cannot listen."""
        app = self._app(assets.read())
        port = await self._server.start(app, str(self.options["host"]), int(self.options["port"]))
        self._serving = True
        self._unsubscribe = self.controls.subscribe(
            on_changes=self._hear, on_status=self._hear_status, on_table=self._hear_table
        )
        return port

    async def stop(self) -> None:
        """Let go of clients and port. May be called at any time, also twice."""
        if not self._serving:
            return
        self._serving = False
        self._unsubscribe()
        self._preview.close()
        await self._server.stop()

    def _app(self, page: Mapping[str, Response]) -> Starlette:
        self._preview = Preview(self.controls, float(self.options["preview_fps"]), int(self.options["preview_quality"]))
        routes = [
            WebSocketRoute("/ws", self._socket),
            Route("/stream.mjpg", self._stream),
            Route("/frame.jpg", self._frame),
            Route("/health", self._health),
            Route("/parameters.json", self._parameters),
            *(Route(path, _constant(response)) for path, response in page.items()),
        ]
        guard = Middleware(Guard, bound=str(self.options["host"]), metrics=self.controls.metrics, counter="panel/foreign")
        return Starlette(routes=routes, middleware=[guard])

    @property
    def _full(self) -> bool:
        return len(self._clients) + self._streams >= CLIENT_LIMIT

    async def _socket(self, web: WebSocket) -> None:
        await web.accept()
        if self._full:
            self.controls.metrics.count("panel/full")
            return await web.close(TRY_AGAIN_LATER, f"the panel has {CLIENT_LIMIT} clients already")
        origin = f"panel/{next(self._numbers)}"
        client = self._clients[origin] = Client(web, origin, self.controls, self._preview, self._camera)
        try:
            return await client.run()
        finally:
            del self._clients[origin]

    async def _stream(self, request: Request) -> Response:
        if self._full:
            self.controls.metrics.count("panel/full")
            return PlainTextResponse(f"the panel has {CLIENT_LIMIT} clients already\n", 503)
        kind = "multipart/x-mixed-replace; boundary=picture"
        return StreamingResponse(self._parts(), media_type=kind, headers=NO_STORE)

    async def _parts(self) -> AsyncIterator[bytes]:
        """The boundary follows each picture at once: some readers show a picture only when they have seen its end."""
        self._streams += 1
        try:
            yield BOUNDARY
            jpeg = None
            while (jpeg := await self._preview.next(jpeg)) is not None:
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg.data)}\r\n\r\n"
                yield head.encode() + jpeg.data + b"\r\n" + BOUNDARY
        finally:
            self._streams -= 1

    async def _frame(self, request: Request) -> Response:
        jpeg = self._preview.newest()
        if jpeg is None:
            return PlainTextResponse("there is no picture yet\n", 503, headers={**NO_STORE, "Retry-After": "1"})
        return Response(jpeg.data, media_type="image/jpeg", headers={**NO_STORE, "X-Frame-Number": str(jpeg.number)})

    async def _health(self, request: Request) -> Response:
        return JSONResponse(messages.metrics(self.controls, len(self._clients) + self._streams), headers=NO_STORE)

    async def _parameters(self, request: Request) -> Response:
        return JSONResponse(messages.table(self.controls), headers=NO_STORE)

    def _hear(self, changes: list[Change]) -> None:
        for client in self._clients.values():
            client.hear(changes)

    def _hear_table(self) -> None:
        message = messages.retable(self.controls)
        for client in self._clients.values():
            client.hear_table(message)

    def _hear_status(self, status: Mapping[str, Value]) -> None:
        message = messages.status(self.controls)
        for client in self._clients.values():
            client.hear_status(message)


def _constant(response: Response) -> Any:
    async def answer(request: Request) -> Response:
        return response
    return answer
