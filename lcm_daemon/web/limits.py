"""Limits of the web servers' connections: how many there may be, and how long one may take to say what it wants.

Each connection takes a file descriptor, and a process without free ones serves none. uvicorn has no limit of its own
that counts connections before they have sent a request, or before their TLS handshake.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lcm_daemon.core.file_limit import most_connections
from lcm_daemon.core.rate_limit import RateLimit
from lcm_daemon.web.address import network_of
from lcm_daemon.web.open_connections import OpenConnections

MOST_CONNECTIONS = 192  # from the network together, and the same from this machine
MOST_OF_ADDRESS = 48  # from one address of the network; a page needs eight at most
POOLS = 6  # of connections that a process may have: two of each of its servers
MOST_A_SECOND = 50  # new ones of one address of the network: a refusal by HTTP would cost far more
MOST_A_SECOND_HERE = 1000  # the same of one address of this machine; clients of OSCQuery may open one a question
QUEUE = 4096  # connections that the system holds until they are accepted; it may allow fewer
DEFER_SECONDS = 5  # after which a connection that says nothing is accepted all the same
REFUSED_AT_ONCE = 128  # connections that are closed in one go
AT_ONCE = 32  # that are accepted before what has arrived on others is read
END_SECONDS = 10.0  # within which a client of a WebSocket must have read what was sent before the end
PIECE = 4096  # bytes that are parsed at once; a frame without content takes six
PARTS_AT_ONCE, PARTS_A_SECOND = 1024, 256  # pings, pongs and parts of messages that are read of one WebSocket
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
MOST_QUEUED = 4096  # messages of one WebSocket that wait to be read


class PatientListener(socket.socket):
    """A listening socket of which the system holds many connections, however few an event loop accepts in one go.

    On Linux a connection is accepted once something has arrived on it (tcp(7), TCP_DEFER_ACCEPT), or some seconds
    later: the system itself keeps those that say nothing.
    """

    def listen(self, backlog: int = QUEUE) -> None:
        """As `socket.listen`."""
        if sys.platform == "linux":
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        super().listen(max(backlog, QUEUE))


class LimitedListener(PatientListener):
    """A listening socket that keeps the number of connections within limits.

    A connection beyond them takes the place of one that waits for a request, and is closed at once if none does.
    Windows accepts connections in another way, which this class does not see: there the limits are those of the system.
    """

    connections: OpenConnections
    _on_refused: Callable[[], object]
    _most: int
    _of_address: int
    _pace: RateLimit
    _pace_here: RateLimit

    def limit(self, on_refused: Callable[[], object], proxies: Sequence[str] = (), most: int = 0,
              of_address: int = 0) -> None:
        """Begin to limit.

        Args:
            on_refused: Called for each connection that is closed for another one, or at once.
            proxies: Networks whose addresses speak for many clients: no limit of one address holds for them.
            most: In place of MOST_CONNECTIONS; 0 keeps that, or what the limit of open files allows.
            of_address: In place of MOST_OF_ADDRESS; 0 keeps that.
        """
        self._on_refused, self.connections = on_refused, OpenConnections()
        self._pace, self._pace_here = RateLimit(MOST_A_SECOND), RateLimit(MOST_A_SECOND_HERE)
        self._most = most or min(MOST_CONNECTIONS, most_connections(POOLS))
        self._of_address = of_address
        self._proxies = [ipaddress.ip_network(each) for each in proxies]

    def accept(self) -> tuple[socket.socket, Any]:
        """As `socket.accept`, for the next connection that is not refused. Raises BlockingIOError if there is none."""
        for _ in range(REFUSED_AT_ONCE):
            connection, address = super().accept()
            host = network_of(str(address[0]))
            if self._make_room(host):
                self.connections.add(connection, address, host)
                return connection, address
            connection.close()
            self._on_refused()
        raise BlockingIOError

    def _make_room(self, host: str) -> bool:
        is_proxy, is_here = self._is_proxy(host), _is_loopback(host)
        is_limited = not is_here and not is_proxy
        if not is_proxy and not (self._pace_here if is_here else self._pace).allows(host):
            return False
        of_address = self._of_address or MOST_OF_ADDRESS
        hosts = self.connections.hosts()
        if is_limited and hosts[host] >= of_address and not self._drop_waiting([host]):
            return False
        beside = [each for each in hosts if _is_loopback(each) == _is_loopback(host)]
        return sum(hosts[each] for each in beside) < self._most or self._drop_waiting(beside)

    def _drop_waiting(self, hosts: Sequence[str]) -> bool:
        was_waiting = self.connections.drop_waiting(hosts)
        if was_waiting:
            self._on_refused()
        return was_waiting

    def _is_proxy(self, host: str) -> bool:
        """host: An address, or a network of IPv6, as `network_of` returns it."""
        found = ipaddress.ip_network(host.partition("%")[0])
        return any(isinstance(found, type(each)) and found.overlaps(each) for each in self._proxies)


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def with_table(protocol: Any, connections: OpenConnections) -> Any:
    """A class of uvicorn's for HTTP connections, changed to enter itself into the table."""
    class WithTable(protocol):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            connections.set_protocol(transport.get_extra_info("peername"), self)

    return WithTable


def with_end(protocol: Any) -> Any:
    """A class of uvicorn's for WebSockets, changed to cut those whose client does not read what was last sent to it.

    Those are cut too that flood the server with what no app reads: pings, pongs, parts of a message without an end.
    """
    class WithEnd(protocol):  # type: ignore[misc]
        _parts, _counted_at = 0.0, 0.0

        async def run_asgi(self) -> None:
            try:
                await super().run_asgi()
            finally:
                self.loop.call_later(END_SECONDS, self.transport.abort)

        def data_received(self, data: bytes) -> None:
            for start in range(0, len(data), PIECE):
                if self.transport.is_closing():
                    return
                super().data_received(data[start:start + PIECE])
                waiting = getattr(self, "queue", None)  # uvicorn's older class has none
                if waiting is not None and waiting.qsize() > MOST_QUEUED:
                    self.transport.abort()
            _refuse_bad_request(self)

        def handle_ping(self, *event: Any) -> None:
            if self._has_room():
                super().handle_ping(*event)

        def handle_pong(self, *event: Any) -> None:
            if self._has_room():
                super().handle_pong(*event)

        def handle_cont(self, *event: Any) -> None:
            if self._has_room():
                super().handle_cont(*event)

        def _has_room(self) -> bool:
            """Count a frame that no app reads; cut the connection if they are too many."""
            now = self.loop.time()
            self._parts = max(self._parts - (now - self._counted_at) * PARTS_A_SECOND, 0.0) + 1.0
            self._counted_at = now
            if self._parts > PARTS_AT_ONCE and not self.transport.is_closing():
                self.transport.abort()
            return not self.transport.is_closing()

    return WithEnd


def _refuse_bad_request(protocol: Any) -> None:
    """End a WebSocket's connection if its request could not be parsed, of which uvicorn takes no notice.

    The first data are a whole request. `websockets` allows fewer characters and shorter lines than the parser of HTTP
    requests, and no body.
    """
    if not getattr(protocol, "handshake_initiated", True) and not protocol.transport.is_closing():
        protocol.transport.write(BAD_REQUEST)
        protocol.transport.close()
