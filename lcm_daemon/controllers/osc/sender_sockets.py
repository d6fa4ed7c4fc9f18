"""SenderSockets: a sender that floods a UDP port gets a socket of its own, so that others are not lost with it.

The system keeps what waits for a port in one buffer. While a flood keeps it full, datagrams of all senders are lost. A
second socket that is bound to the same port and connected to one sender receives what that sender sends, and nothing
else does (udp(7): the socket that fits a datagram best gets it). So a flood fills a buffer of its own.

Linux only. Elsewhere all senders share one buffer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from lcm_daemon.controllers.osc_protocol.intake import let_others_run
from lcm_daemon.core.held_sockets import HeldSockets

MOST_SOCKETS = 16
FLOOD_SHARE = 0.5  # of what is read in a turn that leaves datagrams waiting, beyond which one sender may flood
FLOOD_TURNS = 4  # such turns in a row, after which it does
MOST_TURNS = 32  # of reading what a sender has left in the shared buffer; it holds 4 MiB
QUIET_SECONDS = 5.0  # without a turn that leaves datagrams waiting, after which a sender has no socket of its own
DROP_SECONDS = 0.2  # for the stage to close its copy: what arrives there is read by none

Peer = tuple[Any, ...]  # an address as the socket module returns it


class ReadTurn(NamedTuple):
    """What was read of a socket in one turn.

    Attributes:
        is_more: Whether something is left.
        packets: How many datagrams, by sender.
        sizes: How many bytes, by sender.
    """

    is_more: bool
    packets: Counter[Peer]
    sizes: Counter[Peer]


Drain = Callable[[socket.socket], ReadTurn]


class SenderSockets:
    """The sockets of single senders of one port.

    Args:
        shared: The bound socket that all others share.
        drain: Reads a socket for one turn.
        sockets: Holds them for the next desk, which reads what waits in them.
        name: What their names in `sockets` start with.
    """

    def __init__(self, shared: socket.socket, drain: Drain, sockets: HeldSockets | None = None, name: str = "") -> None:
        self._shared, self._drain, self._held, self._name = shared, drain, sockets, f"{name} from "
        self._tasks: dict[Peer, asyncio.Task[None]] = {}
        self._row = 0  # turns in which one sender has sent most, and left something waiting
        host = ipaddress.ip_address(shared.getsockname()[0].partition("%")[0])
        self._works = sys.platform == "linux" and not host.is_multicast

    def start(self) -> None:
        """Read the sockets of the desk before."""
        for _, own in self._held.take_all(self._name) if self._held is not None else ():
            self._begin(own.getpeername(), own)

    def __len__(self) -> int:
        return len(self._tasks)

    def note(self, turn: ReadTurn) -> None:
        """A turn of reading the shared socket is over."""
        peer, size = turn.sizes.most_common(1)[0] if turn.is_more and turn.sizes else ((), 0)
        self._row = self._row + 1 if size > FLOOD_SHARE * turn.sizes.total() else 0
        if self._row >= FLOOD_TURNS and self._works and len(self._tasks) < MOST_SOCKETS and peer not in self._tasks:
            self._row = 0
            self._separate(peer)

    def _separate(self, peer: Peer) -> None:
        """Give a sender a socket of its own. Where the system refuses, it shares the buffer as before."""
        try:
            own = self._open(peer)
        except OSError:
            return
        if self._held is not None:
            self._held.keep(self._name_of(peer), own)
        for _ in range(MOST_TURNS):  # what it has sent before comes first
            if not self._drain(self._shared).is_more:
                break
        self._begin(peer, own)

    def _begin(self, peer: Peer, own: socket.socket) -> None:
        self._tasks[peer] = asyncio.create_task(self._read(peer, own), name=f"osc from {peer[0]}:{peer[1]}")

    def _name_of(self, peer: Peer) -> str:
        return f"{self._name}{peer[0]} {peer[1]}"

    async def close(self) -> None:
        """Close all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, peer: Peer) -> socket.socket:
        """Raises OSError."""
        own = socket.socket(self._shared.family, socket.SOCK_DGRAM)
        try:
            own.setblocking(False)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                           self._shared.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2)  # Linux doubles it
            if own.family == socket.AF_INET6:
                only = self._shared.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            # Every socket of the port needs it. The shared one has it only now: that keeps other programs out.
            for each in (self._shared, own):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(self._shared.getsockname())
            own.connect(peer)
        except OSError:
            own.close()
            raise
        finally:
            self._shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return own

    async def _read(self, peer: Peer, own: socket.socket) -> None:
        """Read until the sender floods no more: one that only sends now and then must not keep others from a socket."""
        loop = asyncio.get_running_loop()
        end = loop.time() + QUIET_SECONDS
        try:
            while await self._is_readable(own):
                if self._drain(own).is_more:
                    end = loop.time() + QUIET_SECONDS
                elif loop.time() > end:
                    break
                await let_others_run()
            if self._held is not None:
                self._held.drop(self._name_of(peer))
                await asyncio.sleep(DROP_SECONDS)
        finally:
            self._drain(own)
            own.close()
            self._tasks.pop(peer, None)

    async def _is_readable(self, own: socket.socket) -> bool:
        """Wait until a datagram has come. False if the sender is quiet."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(own, readable.set)
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                return await readable.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(own)
