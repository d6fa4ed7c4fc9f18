"""Udp: a socket whose datagrams an event loop takes in turns, so that no flood keeps its other work waiting.

Between two turns datagrams queue in the kernel. The loop's own datagram transport is not used: it takes one datagram a
pass of the loop, a fraction of the rate, and with Windows' default loop no socket can be read directly beside it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

DATAGRAM = 65536  # bytes; UDP carries no more
BUFFER = 4 << 20  # bytes of receive buffer asked for: a burst of 10,000 messages
TURN = 0.002  # seconds of datagrams, after which the loop's other work has its turn
PACKETS = 256  # in one turn


class Address(NamedTuple):
    """Somebody's host (an IPv4 address as text) and port; `tcp`: at the other end of a TCP connection."""

    host: str
    port: int
    tcp: bool = False

    def __str__(self) -> str:
        return f"{'tcp/' if self.tcp else ''}{self.host}:{self.port}"


Take = Callable[[bytes, Address], Iterator[None]]  # takes one datagram in, step by step

_BIND_ERRORS: Mapping[int, str] = {
    errno.EADDRINUSE: "is in use by another program: stop that, or give the show another osc.{key}",
    errno.EACCES: "is not allowed to this user: give the show an osc.{key} above 1023",
    errno.EADDRNOTAVAIL: "is not on this machine: osc.host is 127.0.0.1, 0.0.0.0 (every network) or an address of it",
}
_RESERVED = "is in use by another program, or it is reserved (Windows): give the show another osc.{key}"  # error 10013


def bind_error(protocol: str, host: str, port: int, error: OSError) -> LcmDaemonError:
    """One clear line for a port that could not be bound."""
    key = "port" if protocol == "UDP" else "tcp"
    reason = _BIND_ERRORS.get(error.errno or 0, str(error))
    if error.errno == errno.EACCES and port > 1023:
        reason = _RESERVED
    reason = reason.format(key=key)
    return LcmDaemonError(f"OSC: {protocol} port {port} on {host} {reason}")


class Udp:
    """A bound socket that does not block; LcmDaemonError, one clear line, where it cannot be had."""

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        self._health, self._throttle = metrics, LogThrottle(log, metrics)
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.buffer = _granted(self._socket)  # bytes
        metrics.count("osc/receive_buffer", self.buffer)

    def close(self) -> None:
        """Let go of the port; may be called twice."""
        self._health.count("osc/receive_buffer", -self.buffer)
        self.buffer = 0
        self._socket.close()

    def send(self, packet: bytes, address: Address) -> None:
        """Send one datagram; raise OSError where it cannot leave at once."""
        self._socket.sendto(packet, address[:2])

    async def listen(self, take: Take) -> None:
        """Give every datagram to `take`, until cancelled; one that takes longer than a turn lets others in between."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet, source = await loop.sock_recvfrom(self._socket, DATAGRAM)
                if source is None:
                    raise ConnectionResetError
                await carry_out(take(packet, Address(*source)))
                await self._drain(take)
            except ConnectionError:  # how Windows tells that something sent before has reached nobody
                self._health.count("osc/feedback/gone")
            except OSError as error:
                self._throttle.warn("osc/failed", f"OSC: {error}")
                await asyncio.sleep(TURN)
            await asyncio.sleep(0)  # while datagrams wait, nothing above lets others run

    async def _drain(self, take: Take) -> None:
        """One turn."""
        taken, end = 1, time.perf_counter() + TURN
        try:
            while taken < PACKETS and time.perf_counter() < end:
                packet, source = self._socket.recvfrom(DATAGRAM)
                await carry_out(take(packet, Address(*source)))
                taken += 1
        except BlockingIOError:
            pass
        finally:
            self._health.count("osc/packets", taken)


async def carry_out(steps: Iterator[None]) -> None:
    """Take all steps; after each TURN the loop's other work has its turn."""
    end = time.perf_counter() + TURN
    for _ in steps:
        if time.perf_counter() > end:
            await asyncio.sleep(0)
            end = time.perf_counter() + TURN


def doctor() -> str:
    """One line for the doctor: what the system grants; LcmDaemonError where there is no UDP at all."""
    with _bind("127.0.0.1", 0) as sock:
        size = _granted(sock)
    text = f"works; receive buffer {size >> 10} of {BUFFER >> 10} KiB"
    if size < BUFFER:
        text += "; bursts may be lost: raise net.core.rmem_max (Linux) or kern.ipc.maxsockbuf (macOS)"
    return text


def _bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # Windows would let another program share the port
    try:
        if exclusive is not None:
            sock.setsockopt(socket.SOL_SOCKET, exclusive, 1)
        _widen(sock)
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise bind_error("UDP", host, port, error) from error
    return sock


def _widen(sock: socket.socket) -> None:
    """Ask for BUFFER bytes, and for half as long as the system refuses (Linux cuts the wish itself, macOS raises)."""
    for size in (BUFFER, BUFFER // 2, BUFFER // 4, BUFFER // 8):
        try:
            return sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError:
            continue
    return None  # the system's own size


def _granted(sock: socket.socket) -> int:
    """Bytes of receive buffer. Linux tells twice the figure, for its own bookkeeping (man 7 socket)."""
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return size // 2 if sys.platform == "linux" else size
