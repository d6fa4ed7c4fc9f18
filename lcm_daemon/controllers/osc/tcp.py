"""OSC over TCP connections in both directions. A connection is answered in the framing that its first byte shows."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import socket
import time
from collections.abc import Callable

from lcm_daemon.controllers.osc.framing import Framing, FramingError, SizeFraming, detect_framing
from lcm_daemon.controllers.osc.ip import family_of, host_of
from lcm_daemon.controllers.osc.udp import MAX_DATAGRAM, Address, bind_error
from lcm_daemon.controllers.osc_protocol.intake import Intake
from lcm_daemon.core.held_sockets import HeldSockets, taken_or_made
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.network import PLAY
from lcm_daemon.web.limits import AT_ONCE, PatientListener
from lcm_daemon.web.seats import ClientSeat, Seats

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
MAX_UNSENT = 1 << 18  # bytes waiting for a peer that does not read, beyond which its connection is closed
SEND_SECONDS = 5.0  # for which something may wait
PACKET_SECONDS = 5.0  # within which a packet that has begun must arrive


class TcpServer:
    """A listening port and its connections.

    Args:
        intake: Takes the packets that arrive.
        allows: Whether a host may connect.
        on_disconnect: Called with the address of a connection that has ended.
        metrics: Counters.
        sockets: Where the listening socket is taken from if the desk before had it.
    """

    def __init__(
        self, intake: Intake[Address], allows: Callable[[str], bool], on_disconnect: Callable[[Address], None],
        metrics: Metrics, sockets: HeldSockets | None = None,
    ) -> None:
        self._held = sockets
        self._intake, self._allows, self._on_disconnect = intake, allows, on_disconnect
        self._metrics, self._throttle = metrics, LogThrottle(log, metrics)
        self._writers: dict[Address, asyncio.StreamWriter] = {}
        self._framings: dict[Address, Framing] = {}  # of connections that have sent their first byte
        self._seats = Seats(MAX_CONNECTIONS)
        self._places: dict[Address, ClientSeat] = {}
        self._unread: dict[Address, float] = {}  # since when something has waited for a peer, in monotonic seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The listening port, or 0 if closed."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else 0

    async def open(self, host: str, port: int) -> None:
        """Start listening. Raises LcmDaemonError if the port cannot be bound."""
        try:
            limit = 2 * MAX_DATAGRAM  # bytes of a packet: SLIP can double it
            sock = taken_or_made(self._held, f"osc tcp {host} {port}", lambda: _listen(host, port))
            listener = PatientListener(fileno=sock.detach())
            self._server = await asyncio.start_server(self._accept, sock=listener, limit=limit, backlog=AT_ONCE)
        except OSError as error:
            raise bind_error("TCP", host, port, error) from error

    async def close(self) -> None:
        """Close the port and all connections. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, packet: bytes, address: Address) -> None:
        """Send one packet. Closes a connection whose peer does not read; raises OSError if there is none."""
        writer = self._writers.get(address)
        if writer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        if self._is_slow(address, writer.transport.get_write_buffer_size()):
            self._throttle.warn("osc/tcp/slow", f"OSC: {address} does not read its packets; the connection is closed")
            writer.transport.abort()
            return
        writer.write(self._framings.get(address, SizeFraming()).write(packet))

    def _is_slow(self, address: Address, unsent: int) -> bool:
        """Whether the peer does not read. One that has read everything is as good as one that has sent something."""
        now = time.monotonic()
        if not unsent:
            self._unread.pop(address, None)
            if address in self._places:
                self._seats.hear(self._places[address])
        return unsent > MAX_UNSENT or (unsent > 0 and now - self._unread.setdefault(address, now) > SEND_SECONDS)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        host = host_of(peer)
        address = Address(host, peer[1], tcp=True)
        if not self._allows(host):
            self._throttle.warn("osc/denied", f"OSC: {host} is not in network.allow and osc.allow; "
                                f"connection of {address} refused")
            return writer.transport.abort()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # detects dead hosts
        self._writers[address] = writer
        task = asyncio.create_task(self._serve(reader, address), name=f"osc {address}")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._on_end(ended, address))
        return None

    def _on_end(self, ended: asyncio.Task[None], address: Address) -> None:
        self._tasks.discard(ended)
        self._writers.pop(address).transport.abort()
        for each in (self._framings, self._places, self._unread):
            each.pop(address, None)
        self._on_disconnect(address)
        error = None if ended.cancelled() else ended.exception()
        if error is not None:  # a defect in a handler costs this connection, not the port
            self._throttle.warn(
                "osc/failed", f"OSC: {type(error).__name__}: {error}; the connection of {address} is closed")

    def drop(self, address: Address) -> None:
        """End a connection, without what waits of it."""
        self._intake.forget(address, address.host)
        if address in self._writers:
            self._writers[address].transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, address: Address) -> None:
        """Queue packets until the peer closes, and wait until they were handled."""
        with self._seats.taken({"role": PLAY, "client": (address.host, address.port)}) as seat:
            if seat is None:
                self._throttle.warn(
                    "osc/refused", f"OSC: {MAX_CONNECTIONS} connections are open, or {address.host} has too many; the "
                    f"connection of {address} is refused")
                return
            self._places[address], seat.on_end = seat, functools.partial(self._make_room, address)
            await self._read(reader, address)
            await self._intake.drained(address, address.host)

    def _make_room(self, address: Address) -> None:
        self._throttle.warn("osc/tcp/idle", f"OSC: {address} was silent for longest; its connection is closed for "
                            "another one")
        self._writers[address].transport.abort()

    async def _read(self, reader: asyncio.StreamReader, address: Address) -> None:
        """Queue packets until the peer closes. A peer that sends more than can be handled has to wait."""
        try:
            framing = self._framings[address] = await detect_framing(reader)
            while True:
                await framing.begin(reader)
                async with asyncio.timeout(PACKET_SECONDS):
                    packet = await framing.read(reader)
                self._metrics.count("osc/packets")
                self._seats.hear(self._places[address])
                self._intake.put(packet, address, address.host, drops=False)
                await self._intake.room(address, address.host)
        except FramingError as reason:
            self._throttle.warn(
                "osc/malformed",
                f"OSC: {address}: {reason}; the connection is closed. Each packet must follow its size in four bytes "
                "(OSC 1.0), or be framed by SLIP (OSC 1.1)")
        except TimeoutError:
            self._throttle.warn("osc/malformed", f"OSC: {address}: a packet has not arrived within "
                                f"{PACKET_SECONDS:g} s; the connection is closed")
        except (asyncio.IncompleteReadError, OSError):
            return  # the peer has closed, perhaps in the middle of a packet


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError."""
    return socket.create_server(
        (host, port), family=family_of(host), dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6())
