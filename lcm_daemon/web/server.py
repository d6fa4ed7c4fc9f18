"""HTTP and WebSocket server on the desk's event loop. The panel and OSCQuery have one each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.web.limits import AT_ONCE, LimitedListener, with_end, with_table
from lcm_daemon.web.open_connections import OpenConnections

MESSAGE_LIMIT = 65536  # bytes of a WebSocket message; the longest prompt takes 24,000 when escaped
LOOK_SECONDS = 1.0  # between two looks at the connections that wait

App = Callable[..., Awaitable[None]]


class WebServer:
    """Serves an ASGI app.

    Args:
        name: name of the server in error messages.
        key: the show's section that holds its port.
        limit: size limit of a WebSocket message in bytes; a longer message closes its connection.
        tls: certificate and key for https; None for plain HTTP.
        metrics: counters; connections beyond the limits are counted as "<key>/connections refused".
        proxies: networks of reverse proxies. Of their requests, the client's address and the scheme are those that they
            name in X-Forwarded-For and X-Forwarded-Proto.
        connections: how many there may be; 0 for MOST_CONNECTIONS of web/limits.py.
        of_address: how many of them from one address of the network; 0 for MOST_OF_ADDRESS.
        sockets: where the listening socket is taken from if the process before had it.
    """

    def __init__(
        self, name: str, key: str, limit: int = MESSAGE_LIMIT, tls: ssl.SSLContext | None = None,
        metrics: Metrics | None = None, proxies: Sequence[str] = (), connections: int = 0, of_address: int = 0,
        sockets: HeldSockets | None = None,
    ) -> None:
        self._held = sockets
        self._name, self._key, self._limit, self._tls, self._proxies = name, key, limit, tls, list(proxies)
        self._connections, self._of_address = connections, of_address
        self._metrics = metrics or Metrics()
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self, app: App, host: str, port: int) -> int:
        """Listen and serve. Returns the port, which the system chooses if `port` is 0.

        Raises:
            LcmDaemonError: the address or the port is not available; its text is one line.
        """
        listener = await self._listen(host, port)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(listener.close)
            config = uvicorn.Config(
                app, log_config=None, log_level="warning", access_log=False, lifespan="off",
                proxy_headers=bool(self._proxies), forwarded_allow_ips=self._proxies, server_header=False,
                ws_max_size=self._limit, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
                backlog=AT_ONCE,
            )
            config.load()
            config.http_protocol_class = with_table(config.http_protocol_class, listener.connections)
            config.ws_protocol_class = with_end(config.ws_protocol_class)
            config.ssl = self._tls  # not by file names: the certificate may be replaced while the server runs
            self._server = uvicorn.Server(config)
            self._server.capture_signals = contextlib.nullcontext  # the desk handles signals
            self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name=self._name)
            while not self._server.started and not self._serving.done():
                await asyncio.sleep(0.005)
            if self._serving.done():
                raise LcmDaemonError(f"{self._name}: its web server could not start") from self._serving.exception()
            on_failure.pop_all()  # the server closes it
        self._looking = asyncio.create_task(self._look_forever(listener.connections), name=f"{self._name} connections")
        return int(listener.getsockname()[1])

    async def _look_forever(self, connections: OpenConnections) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            connections.look()

    async def stop(self) -> None:
        """Disconnect all clients and release the port. Safe at any time, also when called twice."""
        if self._looking is not None:
            self._looking.cancel()
        serving, self._serving = self._serving, None
        if serving is not None:
            self._server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)

    async def _listen(self, host: str, port: int) -> LimitedListener:
        """Return a socket that listens on `host` and `port`: that of the process before, or a new one."""
        name = f"{self._key} {host} {port}"
        taken = self._held.take(name) if self._held is not None else None
        listener = await self._bind(host, port) if taken is None else LimitedListener(fileno=taken.detach())
        listener.limit(lambda: self._metrics.count(f"{self._key}/connections refused"), self._proxies,
                       self._connections, self._of_address)
        if taken is None and self._held is not None:
            self._held.keep(name, listener)
        return listener

    async def _bind(self, host: str, port: int) -> LimitedListener:
        """Return a new socket that listens on `host` and `port`."""
        try:
            if not host:
                raise OSError("no address given")
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.sort(key=lambda each: each[0] != socket.AF_INET)  # localhost is ::1 first on some systems
            family, kind, protocol, _, address = found[0]
            listener = LimitedListener(family, kind, protocol)
        except OSError as error:
            reason = error.strerror or error
            raise LcmDaemonError(f"{self._name}: cannot listen on {host!r}: {reason}") from error
        # On Windows SO_REUSEADDR would let two programs share a port; elsewhere it only shortens the wait after a stop.
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None) if os.name == "nt" else None
        try:
            listener.setsockopt(socket.SOL_SOCKET, exclusive or socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError as error:
            listener.close()
            raise LcmDaemonError(
                f"{self._name}: cannot listen on {host} port {port}: {error.strerror}; stop the program that uses it, "
                f"or give the show another {self._key}.port") from error
        return listener
