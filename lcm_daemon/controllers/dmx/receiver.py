"""DmxReceiver: a UDP port that other programs of this machine may listen on too, and the multicast groups of sACN."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence

from lcm_daemon.controllers.osc_protocol.intake import let_others_run
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.held_sockets import HeldSockets, taken_or_made
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

MAX_DATAGRAM = 65536  # bytes; UDP carries no more. Windows reports an error, and reading pauses, for a longer one
RECEIVE_BUFFER = 4 << 20  # bytes
TURN = 0.002  # seconds of reading, after which the loop's other work runs
RETRY = 0.1  # seconds after an error of the system
MOST_MEMBERS = 64  # sockets that join groups where one may join few of them

OnDatagram = Callable[[bytes, tuple[str, int]], None]  # a datagram, and its sender's host and port


class DmxReceiver:
    """Reads datagrams. Raises LcmDaemonError if the port cannot be bound.

    Args:
        protocol: For names and log lines: "Art-Net" or "sACN".
        host: Address that it is bound to.
        port: UDP port.
        groups: Multicast groups that it joins.
        metrics: Counters.
        sockets: Where the socket is taken from if the desk before had it.
    """

    def __init__(
        self, protocol: str, host: str, port: int, groups: Sequence[str], metrics: Metrics,
        sockets: HeldSockets | None = None,
    ) -> None:
        self._protocol, self._host, self._groups = protocol, host, groups
        self._throttle = LogThrottle(log, metrics)
        self._socket = taken_or_made(sockets, f"dmx {protocol} {host} {port}", lambda: self._bind(host, port))
        self.port: int = self._socket.getsockname()[1]
        self._joined: set[tuple[str, str]] = set()  # group and address of a network
        self._members: list[socket.socket] = []  # they join groups for the socket that is read
        self._reading: asyncio.Task[None] | None = None

    def start(self, on_datagram: OnDatagram) -> None:
        """Pass each datagram on until `stop`. Call it in the event loop."""
        self.join()
        self._read_on(on_datagram)

    def _read_on(self, on_datagram: OnDatagram) -> None:
        self._reading = asyncio.create_task(self._read_forever(on_datagram), name=f"dmx {self._protocol}")
        self._reading.add_done_callback(functools.partial(self._on_end, on_datagram))

    def _on_end(self, on_datagram: OnDatagram, ended: asyncio.Task[None]) -> None:
        """Read again after a defect: it costs one packet, not the port."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None and self._reading is ended:
            self._throttle.warn("dmx/failed", f"DMX: {type(error).__name__}: {error}; the packet is dropped")
            self._read_on(on_datagram)

    async def stop(self) -> None:
        """Stop reading, and close the socket."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        for sock in (self._socket, *self._members):
            sock.close()

    def send(self, data: bytes, peer: tuple[str, int]) -> None:
        """Send an answer. What cannot be sent at once is dropped."""
        with contextlib.suppress(OSError):
            self._socket.sendto(data, peer)

    def join(self) -> None:
        """Join the groups on each network that has come up since the last call."""
        if not self._groups:
            return
        wanted = {(group, address) for group in self._groups for address in self._networks()}
        self._joined &= wanted  # a network that comes back has to be joined again
        for group, address in sorted(wanted - self._joined):
            try:
                self._join(socket.inet_aton(group) + socket.inet_aton(address))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # else the desk before has joined it
                    self._throttle.warn("dmx/not_joined", f"DMX: {self._protocol}: the group {group} cannot be joined "
                                        f"on {address}: {error}; unicast works")
            self._joined.add((group, address))

    def _join(self, membership: bytes) -> None:
        """Join a group on a network. Raises OSError.

        A socket of Linux may join 20 (net.ipv4.igmp_max_memberships), counted on each network. One that is bound to
        every address also receives what others have joined (IP_MULTICAST_ALL): further sockets join for it.
        """
        for sock in (self._socket, *self._members):
            try:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        if len(self._members) >= MOST_MEMBERS:
            raise OSError(errno.ENOBUFS, "it is one of too many")
        self._members.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._members[-1].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)

    def _networks(self) -> list[str]:
        """The IPv4 addresses of this machine that are listened on."""
        if self._host != "0.0.0.0":
            return [self._host]
        import psutil  # a small command must not load it

        with contextlib.suppress(OSError):
            return [each.address for card in psutil.net_if_addrs().values() for each in card
                    if each.family == socket.AF_INET]
        return []

    def _bind(self, host: str, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            with contextlib.suppress(OSError):  # macOS refuses more than its limit
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform == "darwin":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setblocking(False)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise LcmDaemonError(
                f"DMX: {self._protocol}: UDP port {port} on {host} cannot be listened on: {error}; stop the other "
                "program that uses it, or set dmx.host to an address of this machine") from error
        return sock

    async def _read_forever(self, on_datagram: OnDatagram) -> None:
        while True:
            try:
                await self._wait(on_datagram)
                self._read(on_datagram)
            except ConnectionError:  # Windows reports this way that an answer had no receiver
                continue
            except OSError as error:
                self._throttle.warn("dmx/failed", f"DMX: reading {self._protocol} failed: {error}; trying again")
                await asyncio.sleep(RETRY)
            await let_others_run()  # while datagrams wait, nothing above yields to the loop

    async def _wait(self, on_datagram: OnDatagram) -> None:
        """Wait until a datagram can be read."""
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        try:
            loop.add_reader(self._socket, functools.partial(_finish, readable))
        except NotImplementedError:  # Windows' default loop, which reads the first one itself
            data, peer = await loop.sock_recvfrom(self._socket, MAX_DATAGRAM)
            if peer is not None:
                on_datagram(data, peer)
            return
        try:
            await readable
        finally:
            loop.remove_reader(self._socket)

    def _read(self, on_datagram: OnDatagram) -> None:
        """Read waiting datagrams for one turn."""
        end = time.perf_counter() + TURN
        while time.perf_counter() < end:
            try:
                data, peer = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            on_datagram(data, peer)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def address_towards(host: str) -> bytes:
    """The IPv4 address of this machine, 4 bytes, that `host` reaches it by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect((host, 9))  # nothing is sent
        return ipaddress.IPv4Address(probe.getsockname()[0]).packed
    return bytes(4)
