"""OpenConnections: the connections of one server, which of them wait for a request, and for how long.

A connection that waits costs its client nothing and the server a file descriptor. It is closed after HEAD_SECONDS, and
before that if another client needs the place.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

HEAD_SECONDS = 5.0  # within which a whole request must arrive, its body too
END_SECONDS = 10.0  # in which a client must have read something of what is left when its connection is being closed
OWN_DEADLINE = "lcm_daemon.own_deadline"  # key of a request's scope: the app ends a body that takes too long


@dataclass(eq=False)
class OpenConnection:
    """A connection that was accepted."""

    sock: socket.socket
    host: str
    since: float  # monotonic seconds since when it has waited for a request
    protocol: Any = None  # uvicorn's, from the TLS handshake on
    _cycle: Any = None  # the request at the last look
    _unsent: int = 0  # bytes at the last look at a connection that is being closed
    _unsent_at: float = field(default=0.0)

    @property
    def is_open(self) -> bool:
        return self.sock.fileno() >= 0

    @property
    def is_waiting(self) -> bool:
        """Whether no whole request is there. A WebSocket waits for none."""
        if self.protocol is None:
            return True
        cycle = self.protocol.cycle
        return self.protocol.transport.get_protocol() is self.protocol and (
            cycle is None or cycle.response_complete or cycle.more_body)

    def look(self, now: float) -> None:
        """Close it if it has waited for too long, or if its client does not read the end of the last answer."""
        cycle = self.protocol.cycle if self.protocol is not None else None
        if cycle is not self._cycle or not self.is_waiting:
            self._cycle, self.since = cycle, now
        if self.protocol is not None and self.protocol.transport.is_closing():
            self._look_at_end(now)
        elif now - self.since >= HEAD_SECONDS and not self._has_own_deadline(cycle):
            self.close()

    def close(self) -> None:
        """Close it. What was not yet sent is sent, but for an answer to a request that is still arriving."""
        if self.protocol is None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)  # the event loop, which owns it, closes it
        elif self.protocol.cycle is not None and not self.protocol.cycle.response_complete:
            self.protocol.transport.abort()
        else:
            self.protocol.transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self.protocol is None:
            self.close()
        else:
            self.protocol.transport.abort()

    def _look_at_end(self, now: float) -> None:
        unsent = self.protocol.transport.get_write_buffer_size()
        if unsent < self._unsent or not self._unsent_at:
            self._unsent, self._unsent_at = unsent, now
        elif now - self._unsent_at >= END_SECONDS:
            self.protocol.transport.abort()

    def _has_own_deadline(self, cycle: Any) -> bool:
        return cycle is not None and cycle.more_body and bool(cycle.scope.get(OWN_DEADLINE))


class OpenConnections:
    """A table of them.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open: dict[Any, OpenConnection] = {}  # by the peer's address and port

    def add(self, sock: socket.socket, peer: Any, host: str) -> None:
        """A connection was accepted. host: what counts as one address."""
        self._open[peer] = OpenConnection(sock, host, self._now())

    def set_protocol(self, peer: Any, protocol: Any) -> None:
        """The connection of this peer speaks HTTP now."""
        if peer in self._open:
            self._open[peer].protocol = protocol

    def hosts(self) -> Counter[str]:
        """How many connections each host has."""
        self._open = {peer: each for peer, each in self._open.items() if each.is_open}
        return Counter(each.host for each in self._open.values())

    def drop_waiting(self, hosts: Iterable[str]) -> bool:
        """Close the connection that has waited longest, of that host of these which has most of them waiting.

        Returns:
            Whether there was one.
        """
        known = set(hosts)
        waiting = [(peer, each) for peer, each in self._open.items() if each.host in known and each.is_waiting]
        if not waiting:
            return False
        ((host, _),) = Counter(each.host for _, each in waiting).most_common(1)
        peer = min((peer for peer, each in waiting if each.host == host), key=lambda peer: self._open[peer].since)
        self._open.pop(peer).abort()
        return True

    def look(self) -> None:
        """Close what has waited for too long. Call it about once a second."""
        for each in list(self._open.values()):
            if each.is_open:
                each.look(self._now())
