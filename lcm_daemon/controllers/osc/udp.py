"""A UDP socket that the event loop reads in turns, so that a flood of datagrams does not delay its other work.

Between two turns datagrams wait in the kernel's buffer. asyncio's datagram transport is not used: it reads one datagram
per pass of the loop, a fraction of the rate, and on Windows' default loop no socket can be read directly beside it.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lcm_daemon.controllers.osc.flood_filter import FloodFilter
from lcm_daemon.controllers.osc.ip import bind, destination, family_of, host_of
from lcm_daemon.controllers.osc.sender_sockets import Peer, ReadTurn, SenderSockets
from lcm_daemon.controllers.osc_protocol.intake import let_others_run
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.held_sockets import HeldSockets, taken_or_made
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

MAX_DATAGRAM = 65536  # bytes; UDP carries no more
RECEIVE_BUFFER = 4 << 20  # bytes requested from the system: enough for a burst of 10,000 messages
TURN = 0.002  # seconds of reading a socket, after which the loop's other work runs
TURN_DATAGRAMS = 256  # datagrams in one turn at most


class Address(NamedTuple):
    """Host (an IP address as text) and port of a peer. tcp: the peer is the other end of a TCP connection."""

    host: str
    port: int
    tcp: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tcp/' if self.tcp else ''}{host}:{self.port}"

    @staticmethod
    def parse(text: str) -> Address:
        """Return the address that `str` has written. Raises ValueError for any other text."""
        host, _, port = text.removeprefix("tcp/").rpartition(":")
        return Address(host.strip("[]"), int(port), text.startswith("tcp/"))


PacketReceiver = Callable[[bytes, Address], None]  # queues one packet

_BIND_ERRORS: Mapping[int, str] = {
    errno.EADDRINUSE: "is in use by another program; stop that program, or set another osc.{key} in the show",
    errno.EACCES: "needs more privileges; set an osc.{key} above 1023 in the show",
    errno.EADDRNOTAVAIL: "is not an address of this machine; set osc.host to 127.0.0.1, 0.0.0.0 or :: (every network) "
                         "or one of its addresses",
}
_RESERVED = "is in use by another program or reserved by Windows; set another osc.{key} in the show"  # error 10013


def bind_error(protocol: str, host: str, port: int, error: OSError) -> LcmDaemonError:
    """Return the error for a port that could not be bound, with one line of explanation."""
    key = "port" if protocol == "UDP" else "tcp"
    reason = _BIND_ERRORS.get(error.errno or 0, str(error))
    if error.errno == errno.EACCES and port > 1023:
        reason = _RESERVED
    reason = reason.format(key=key)
    return LcmDaemonError(f"OSC: {protocol} port {port} on {host} {reason}")


class UdpSocket:
    """A bound, non-blocking UDP socket. Raises LcmDaemonError if it cannot be bound.

    Args:
        host, port: What it is bound to; port 0 takes any free one.
        metrics: Counters.
        sockets: Where it is taken from if the desk before had it.
    """

    def __init__(self, host: str, port: int, metrics: Metrics, sockets: HeldSockets | None = None) -> None:
        self._metrics, self._throttle = metrics, LogThrottle(log, metrics)
        self._held, self._name = sockets, f"osc udp {host} {port}"
        self._socket = taken_or_made(sockets, self._name, lambda: _bind(host, port))
        self.port: int = self._socket.getsockname()[1]
        self.buffer = _granted_buffer(self._socket)  # bytes
        self._receiving: asyncio.Task[None] | None = None
        self._senders: SenderSockets | None = None
        self._filter = FloodFilter(self._socket, self._on_dropped)
        metrics.count("osc/receive_buffer", self.buffer)

    def close(self) -> None:
        """Close the socket. Safe to call twice."""
        self._metrics.count("osc/receive_buffer", -self.buffer)
        self.buffer = 0
        self._socket.close()

    def send(self, packet: bytes, address: Address) -> None:
        """Send one datagram. Raises OSError if it cannot be sent at once."""
        self._socket.sendto(packet, (destination(address.host, self._socket.family), address.port))

    def start(self, receive: PacketReceiver) -> None:
        """Pass every datagram to `receive` until `stop`."""
        if self._senders is None:
            drain = functools.partial(self._drain, receive)
            self._senders = SenderSockets(self._socket, drain, self._held, self._name)
            self._senders.start()
        self._receiving = asyncio.create_task(self._receive_forever(receive), name=f"osc {self.port}")
        self._receiving.add_done_callback(functools.partial(self._on_end, receive))

    async def stop(self) -> None:
        """Stop receiving and close the socket."""
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        if self._senders is not None:
            await self._senders.close()
        self._filter.close()
        self.close()

    def _on_dropped(self, number: int) -> None:
        """Datagrams of many senders that flood together did not pass the filter."""
        if number > 0:
            self._metrics.count("osc/dropped", number)
            self._throttle.warn("osc/flood", f"OSC: UDP port {self.port} gets more from many senders together than can "
                                "be handled; most of their packets are dropped")

    def _on_end(self, receive: PacketReceiver, ended: asyncio.Task[None]) -> None:
        """Receive again after a defect: it costs one packet, not the port."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None and self._receiving is ended:
            self._throttle.warn("osc/failed", f"OSC: {type(error).__name__}: {error}; the packet is dropped")
            self.start(receive)

    async def _receive_forever(self, receive: PacketReceiver) -> None:
        senders = self._senders
        assert senders is not None
        while True:
            try:
                await self._wait_for_datagram(receive)
                turn = self._drain(receive, self._socket)
                senders.note(turn)
                self._filter.note(turn)
            except ConnectionError:  # Windows reports this way that an earlier datagram had no receiver
                self._metrics.count("osc/feedback/gone")
            except OSError as error:
                self._throttle.warn("osc/failed", f"OSC: reading UDP port {self.port} failed: {error}; trying again")
                await asyncio.sleep(TURN)
            await let_others_run()  # while datagrams wait, nothing above yields to the loop

    async def _wait_for_datagram(self, receive: PacketReceiver) -> None:
        """Wait until one can be read. It stays in the system: a process that is killed loses what it has read."""
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        try:
            loop.add_reader(self._socket, _finish, readable)
        except NotImplementedError:  # Windows' default loop, which reads the first one itself
            packet, source = await loop.sock_recvfrom(self._socket, MAX_DATAGRAM)
            if source is None:
                raise ConnectionResetError from None
            self._metrics.count("osc/packets")
            receive(packet, Address(host_of(source), source[1]))
            return
        try:
            await readable
        finally:
            loop.remove_reader(self._socket)

    def _drain(self, receive: PacketReceiver, sock: socket.socket) -> ReadTurn:
        """Read waiting datagrams for one turn."""
        packets, sizes = Counter[Peer](), Counter[Peer]()
        received, end = 0, time.perf_counter() + TURN
        try:
            while received < TURN_DATAGRAMS and time.perf_counter() < end:
                packet, source = sock.recvfrom(MAX_DATAGRAM)
                if not self._filter.passes(source):
                    continue
                received += 1
                packets[source] += 1
                sizes[source] += len(packet)
                receive(packet, Address(host_of(source), source[1]))
        except BlockingIOError:
            return ReadTurn(False, packets, sizes)
        except ConnectionError:
            self._metrics.count("osc/feedback/gone")
            return ReadTurn(False, packets, sizes)
        finally:
            self._metrics.count("osc/packets", received)
        return ReadTurn(True, packets, sizes)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def check_receive_buffer() -> str:
    """Describe the receive buffer that the system grants. Raises LcmDaemonError if UDP does not work."""
    with _bind("127.0.0.1", 0) as sock:
        size = _granted_buffer(sock)
    text = f"receive buffer {size >> 10} of {RECEIVE_BUFFER >> 10} KiB"
    if size < RECEIVE_BUFFER:
        text += "; bursts may be lost: raise net.core.rmem_max (Linux) or kern.ipc.maxsockbuf (macOS)"
    return text


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(family_of(host), socket.SOCK_DGRAM)
    try:
        _enlarge_buffer(sock)
        sock.setblocking(False)
        bind(sock, host, port)
    except OSError as error:
        sock.close()
        raise bind_error("UDP", host, port, error) from error
    return sock


def _enlarge_buffer(sock: socket.socket) -> None:
    """Request RECEIVE_BUFFER bytes, and half of it as long as the system refuses (Linux caps it, macOS raises)."""
    for size in (RECEIVE_BUFFER, RECEIVE_BUFFER // 2, RECEIVE_BUFFER // 4, RECEIVE_BUFFER // 8):
        try:
            return sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError:
            continue
    return None  # keep the system's default


def _granted_buffer(sock: socket.socket) -> int:
    """Bytes of receive buffer. Linux reports twice the size, to include its bookkeeping (man 7 socket)."""
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return size // 2 if sys.platform == "linux" else size
