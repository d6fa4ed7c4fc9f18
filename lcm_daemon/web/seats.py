"""Seats: how many clients a server has, and who may become one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lcm_daemon.core.network import VIEW
from lcm_daemon.web.address import is_open, network_of
from lcm_daemon.web.origin_guard import Scope

KEPT = 8  # seats that viewers leave free for those who play
MOST_OF_VIEWER = 8  # seats of one address that may only look; those behind a proxy on this machine have none


class Seats:
    """Counts clients, WebSockets and streams. Viewers cannot take all seats, nor one of them all that viewers may take.

    Args:
        most: The number of seats.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: list[tuple[str, str]] = []  # role and address of each client

    def __len__(self) -> int:
        """The number of clients."""
        return len(self._taken)

    @contextlib.contextmanager
    def taken(self, scope: Scope) -> Iterator[bool]:
        """Take a seat while the block runs. Yields whether there was one."""
        client = str(scope.get("role")), network_of(str((scope.get("client") or ("",))[0]))
        if not self._has_room(client):
            yield False
            return
        self._taken.append(client)
        try:
            yield True
        finally:
            self._taken.remove(client)

    def _has_room(self, client: tuple[str, str]) -> bool:
        role, address = client
        if role != VIEW:
            return len(self._taken) < self._most
        viewers = sum(role == VIEW for role, _ in self._taken)
        is_alone = address and is_open(address)
        return (len(self._taken) < self._most and viewers < self._most - KEPT
                and not (is_alone and self._taken.count(client) >= MOST_OF_VIEWER))
