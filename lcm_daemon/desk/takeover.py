"""What passes between a desk that ends, the stage, and the desk that takes its place."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from lcm_daemon.processes.socket_transfer import NONE_PASSED, Passed, SocketTransfer


@dataclass(frozen=True)
class Leave:
    """Stage to desk, without a credit: another desk takes over. Stop listening, send what waits, and end."""


@dataclass(frozen=True)
class Left:
    """Desk to stage, after its last request: the next desk may start. It is still closing connections."""


@dataclass(frozen=True)
class SocketsUsed:
    """Desk to stage, in `Ready`: which sockets it listens on.

    Attributes:
        taken: Names of those that it was given.
        new: Those that it has made itself.
    """

    taken: tuple[str, ...] = ()
    new: Passed = NONE_PASSED


class StageSockets:
    """The stage's copies of the sockets of its desk. They keep what arrives while no desk runs."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def __len__(self) -> int:
        return len(self._held)

    def send(self, transfer: SocketTransfer, pid: int) -> Passed:
        """Give copies to the next desk; what is returned must reach it in a message."""
        return transfer.send(self._held, pid)

    def on_ready(self, used: object, transfer: SocketTransfer) -> None:
        """A desk listens: hold what it uses, and close the rest. used: The report of its `Ready`."""
        if isinstance(used, SocketsUsed):
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
