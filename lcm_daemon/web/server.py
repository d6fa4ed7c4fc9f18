"""Web: an HTTP server on the desk's event loop, as the panel and OSCQuery have one each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from lcm_daemon.core.errors import LcmDaemonError

MESSAGE_LIMIT = 65536  # bytes of a WebSocket message; the longest prompt, escaped, takes 24,000
TRY_AGAIN_LATER = 1013  # WebSocket close code, RFC 6455 and its IANA registry

App = Callable[..., Awaitable[None]]


class WebServer:
    """Serves an ASGI app. name: in its errors.   key: the show's section that holds its port.

    limit: bytes of a WebSocket message; a longer one ends its connection.
    """

    def __init__(self, name: str, key: str, limit: int = MESSAGE_LIMIT) -> None:
        self._name, self._key, self._limit = name, key, limit
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, app: App, host: str, port: int) -> int:
        """Listen and serve; the port. LcmDaemonError with one clear line where it cannot be had."""
        ear = await self._bind(host, port)
        self._server = uvicorn.Server(uvicorn.Config(
            app, log_config=None, log_level="warning", access_log=False, lifespan="off", proxy_headers=False,
            server_header=False, ws_max_size=self._limit, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
        ))
        self._server.capture_signals = contextlib.nullcontext  # signals are the desk's affair
        self._serving = asyncio.create_task(self._server.serve(sockets=[ear]), name=self._name)
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)
        if self._serving.done():
            ear.close()
            raise LcmDaemonError(f"{self._name}: its web server could not start") from self._serving.exception()
        return int(ear.getsockname()[1])

    async def stop(self) -> None:
        """Let go of clients and port. May be called at any time, also twice."""
        serving, self._serving = self._serving, None
        if serving is not None:
            self._server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)

    async def _bind(self, host: str, port: int) -> socket.socket:
        """A socket that listens on `host` and `port`."""
        try:
            if not host:
                raise OSError("no address given")
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            ear = socket.socket(family, kind, protocol)
        except OSError as error:
            reason = error.strerror or error
            raise LcmDaemonError(f"{self._name}: cannot listen on {host!r}: {reason}") from error
        # On Windows SO_REUSEADDR would let two programs share a port; elsewhere it only shortens the wait after a stop.
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None) if os.name == "nt" else None
        ear.setsockopt(socket.SOL_SOCKET, exclusive or socket.SO_REUSEADDR, 1)
        try:
            ear.bind(address)
            ear.listen(128)
        except OSError as error:
            ear.close()
            raise LcmDaemonError(f"{self._name}: cannot listen on {host} port {port}: {error.strerror}; stop what uses "
                                 f"it, or give the show another {self._key}.port") from error
        return ear
