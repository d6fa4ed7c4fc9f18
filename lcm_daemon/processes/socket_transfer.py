"""SocketTransfer: carries open sockets between the stage and a child. StageSockets: those that outlive a child.

On Linux and macOS file descriptors travel as ancillary data of a pair of local sockets (unix(7), SCM_RIGHTS). Windows
copies a socket for a process that is known by its id (WSADuplicateSocket), and the copy travels in a message.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST = 64  # sockets in one transfer; Linux allows 253


@dataclass(frozen=True)
class Passed:
    """What a message says of sockets that were sent before it. Picklable.

    Attributes:
        names: Their names, in order.
        copies: On Windows, the sockets themselves.
    """

    names: tuple[str, ...] = ()
    copies: tuple[bytes, ...] = ()


NONE_PASSED = Passed()


class SocketTransfer:
    """One end. Nothing waits. Where the system refuses, sockets stay where they are and the other end gets none.

    Args:
        end: One of a pair of local sockets. None on Windows, and elsewhere for one that carries nothing.
    """

    def __init__(self, end: socket.socket | None = None) -> None:
        self._end = end
        if end is not None:
            end.setblocking(False)

    def send(self, sockets: Mapping[str, socket.socket], pid: int) -> Passed:
        """Send sockets; what is returned must reach the other process in a message after it.

        Args:
            sockets: The first MOST of them are sent. They stay open here.
            pid: Id of the other process.
        """
        names = tuple(sockets)[:MOST]
        chosen = [sockets[name] for name in names]
        try:
            if sys.platform == "win32":
                return Passed(names, tuple(each.share(pid) for each in chosen))
            if names and self._end is not None:
                socket.send_fds(self._end, [b"s"], [each.fileno() for each in chosen])
                return Passed(names)
        except OSError:  # the other end is gone, or this process may open no more files
            pass
        return NONE_PASSED

    def receive(self, passed: Passed) -> dict[str, socket.socket]:
        """The sockets that a message tells of, by name. They are non-blocking."""
        if sys.platform == "win32":
            return dict(zip(passed.names, map(socket.fromshare, passed.copies), strict=True))
        if not passed.names or self._end is None:
            return {}
        with contextlib.suppress(OSError):
            _, numbers, _, _ = socket.recv_fds(self._end, 1, MOST)
            return dict(zip(passed.names, map(_opened, numbers), strict=False))
        return {}

    def close(self) -> None:
        if self._end is not None:
            self._end.close()


def transfer_ends() -> Sequence[socket.socket | None]:
    """Two ends of a transfer, the second one for a child; None where the system needs none. Raises OSError."""
    return (None, None) if sys.platform == "win32" else socket.socketpair()


def _opened(number: int) -> socket.socket:
    opened = socket.socket(fileno=number)
    opened.setblocking(False)
    opened.set_inheritable(False)
    return opened


@dataclass(frozen=True)
class SocketsUsed:
    """Which sockets a child listens on: part of its `Ready`, and a message of its own when they change.

    Attributes:
        taken: Names of those that the stage holds already.
        new: Those that the child has made since.
    """

    taken: tuple[str, ...] = ()
    new: Passed = NONE_PASSED


NONE_USED = SocketsUsed()


class StageSockets:
    """The stage's copies of a child's sockets. They keep what arrives while no child runs."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def __len__(self) -> int:
        return len(self._held)

    def send(self, transfer: SocketTransfer, pid: int) -> Passed:
        """Give copies to the next child; what is returned must reach it in a message."""
        return transfer.send(self._held, pid)

    def on_ready(self, used: SocketsUsed, transfer: SocketTransfer) -> None:
        """A child listens: hold what it uses, and close the rest."""
        before, self._held = self._held, {}
        self._held = {name: before.pop(name) for name in used.taken if name in before}
        self._held.update(transfer.receive(used.new))
        _close_all(before)

    def close(self) -> None:
        _close_all(self._held)

def _close_all(sockets: dict[str, socket.socket]) -> None:
    for each in sockets.values():
        each.close()
    sockets.clear()
