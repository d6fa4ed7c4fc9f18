"""HeldSockets: the sockets of a process that another process takes over when the first has ended.

The stage holds a copy of each socket that its desk listens on. While no desk runs, the system collects what arrives:
datagrams in the socket's buffer, connections in its queue. The next desk takes the sockets over and misses nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping

NO_SOCKETS: Mapping[str, socket.socket] = {}


class HeldSockets:
    """Sockets by name. A name says what the socket is bound to, as the show's options give it: "udp 0.0.0.0 9000".

    Args:
        inherited: Those of the process before.

    Attributes:
        taken: Names of those that this process uses too.
        new: Those that the next process is to find as well. Each is a copy, which stays open when the socket is closed.
        on_change: Called after `keep` and `drop`.
    """

    def __init__(self, inherited: Mapping[str, socket.socket] = NO_SOCKETS) -> None:
        self._inherited = dict(inherited)
        self.taken: list[str] = []
        self.new: dict[str, socket.socket] = {}
        self.on_change: Callable[[], None] = lambda: None

    def take(self, name: str) -> socket.socket | None:
        """The socket that the process before has used; None if it had none of this name. Each is given once."""
        taken = self._inherited.pop(name, None)
        if taken is not None:
            self.taken.append(name)
        return taken

    def take_all(self, start: str) -> list[tuple[str, socket.socket]]:
        """All that the process before has used whose names start like this, with their names."""
        names = [name for name in self._inherited if name.startswith(start)]
        return [(name, taken) for name in names if (taken := self.take(name)) is not None]

    def keep(self, name: str, used: socket.socket) -> None:
        """Let the next process find this socket. It is non-blocking in all of them."""
        used.setblocking(False)
        if name not in self.new:
            self.new[name] = used.dup()
            self.on_change()

    def drop(self, name: str) -> None:
        """The next process is not to find this one."""
        if name in self.taken:
            self.taken.remove(name)
        if (copy := self.new.pop(name, None)) is not None:
            copy.close()
        self.on_change()

    def mark_passed(self, names: Collection[str]) -> None:
        """The next process will find these new ones: their copies are not needed here."""
        for name in names:
            self.new.pop(name).close()
            self.taken.append(name)

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
