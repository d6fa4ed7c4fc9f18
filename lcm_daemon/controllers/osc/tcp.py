"""Tcp: OSC over TCP connections, each packet behind its size in four bytes (OSC 1.0), both ways.

This is how liblo has it. The SLIP framing of OSC 1.1 is another one: its first bytes read as an impossible size, and
the connection is closed with a line that says so.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable

from lcm_daemon.controllers.osc.udp import DATAGRAM, TURN, Address, Take, bind_error, carry_out
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

CONNECTIONS = 32
BACKLOG = 1 << 18  # bytes that wait for somebody who does not read, beyond which the connection is cut
SIZE = 4  # bytes of a packet's size, big-endian


class Tcp:
    """A port that listens, and its connections. `admits`: whether a host may connect. `left` is told who has gone."""

    def __init__(
        self, take: Take, admits: Callable[[str], bool], left: Callable[[Address], None], metrics: Metrics,
    ) -> None:
        self._take, self._admits, self._left = take, admits, left
        self._health, self._throttle = metrics, LogThrottle(log, metrics)
        self._writers: dict[Address, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that listens; 0 while none does."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else 0

    async def open(self, host: str, port: int) -> None:
        """Listen; LcmDaemonError, one clear line, where the port cannot be had."""
        try:
            self._server = await asyncio.start_server(self._accept, host, port)
        except OSError as error:
            raise bind_error("TCP", host, port, error) from error

    async def close(self) -> None:
        """Let go of the port and of all connections; may be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, packet: bytes, address: Address) -> None:
        """Send one packet; raise OSError where there is no such connection. One that does not read is cut."""
        writer = self._writers.get(address)
        if writer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        if writer.transport.get_write_buffer_size() > BACKLOG:
            self._throttle.warn("osc/tcp/slow", f"OSC connection of {address} cut: it does not read what it is sent")
            writer.transport.abort()
            return
        writer.write(len(packet).to_bytes(SIZE, "big") + packet)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")[:2]
        address = Address(host, port, tcp=True)
        if not self._admits(host):
            self._throttle.warn("osc/denied", f"OSC connection of {address} refused: {host} is not in osc.allow")
            return writer.transport.abort()
        if len(self._writers) >= CONNECTIONS:
            self._throttle.warn("osc/refused", f"OSC connection of {address} refused: there are {CONNECTIONS}")
            return writer.transport.abort()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # finds dead hosts out
        self._writers[address] = writer
        task = asyncio.create_task(self._serve(reader, address), name=f"osc {address}")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._end(ended, address))
        return None

    def _end(self, ended: asyncio.Task[None], address: Address) -> None:
        self._tasks.discard(ended)
        self._writers.pop(address).transport.abort()
        self._left(address)
        error = None if ended.cancelled() else ended.exception()
        if error is not None:  # a defect in one handler costs this connection, not the port
            self._throttle.warn("osc/failed", f"OSC: {type(error).__name__}: {error}")

    async def _serve(self, reader: asyncio.StreamReader, address: Address) -> None:
        """Take packets until the other end closes; a turn's worth of them, and the loop's other work has its turn."""
        end = time.perf_counter() + TURN
        try:
            while size := await self._size(reader, address):
                packet = await reader.readexactly(size)
                self._health.count("osc/packets")
                await carry_out(self._take(packet, address))
                if time.perf_counter() > end:
                    await asyncio.sleep(0)
                    end = time.perf_counter() + TURN
        except (asyncio.IncompleteReadError, OSError):
            return  # gone, in the middle of a packet or not

    async def _size(self, reader: asyncio.StreamReader, address: Address) -> int:
        """Bytes of the next packet; 0 where no packet has such a size."""
        size = int.from_bytes(await reader.readexactly(SIZE), "big")
        if 0 < size <= DATAGRAM:
            return size
        self._throttle.warn("osc/malformed", f"OSC connection of {address} closed: no packet has {size} bytes; each "
                                           "packet goes behind its size in four bytes (OSC 1.0), not in SLIP")
        return 0
