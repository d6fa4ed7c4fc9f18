"""HeldSockets: the sockets of a process that another process takes over when the first has ended.

The stage holds a copy of each socket that its desk listens on. While no desk runs, the system collects what arrives:
datagrams in the socket's buffer, connections in its queue. The next desk takes the sockets over and misses nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

NO_SOCKETS: Mapping[str, socket.socket] = {}


class HeldSockets:
    """Sockets by name. A name says what the socket is bound to, as the show's options give it: "udp 0.0.0.0 9000".

    Args:
        inherited: Those of the process before.

    Attributes:
        taken: Names of those that this process uses too.
        new: Those that the next process is to find as well. Each is a copy, which stays open when the socket is closed.
    """

    def __init__(self, inherited: Mapping[str, socket.socket] = NO_SOCKETS) -> None:
        self._inherited = dict(inherited)
        self.taken: list[str] = []
        self.new: dict[str, socket.socket] = {}

    def take(self, name: str) -> socket.socket | None:
        """The socket that the process before has used; None if it had none of this name. Each is given once."""
        taken = self._inherited.pop(name, None)
        if taken is not None:
            self.taken.append(name)
        return taken

    def keep(self, name: str, used: socket.socket) -> None:
        """Let the next process find this socket. It is non-blocking in all of them."""
        used.setblocking(False)
        if name not in self.new:
            self.new[name] = used.dup()

    def close(self) -> None:
        """Close the copies, and what was not taken."""
        for each in (*self._inherited.values(), *self.new.values()):
            each.close()
        self._inherited, self.new = {}, {}


def taken_or_made(sockets: HeldSockets | None, name: str, make: Callable[[], socket.socket]) -> socket.socket:
    """The socket of the process before, else a new one, which the next process is to find.

    Args:
        sockets: None makes a new one that this process alone has.
        name: As of HeldSockets.
        make: Makes a new one; what it raises is raised.
    """
    if sockets is None:
        return make()
    taken = sockets.take(name)
    if taken is None:
        taken = make()
        sockets.keep(name, taken)
    return taken
