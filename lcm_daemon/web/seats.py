"""Seats: how many clients a server has, and who may become one."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from lcm_daemon.core.network import VIEW
from lcm_daemon.web.address import is_open, network_of
from lcm_daemon.web.origin_guard import Scope

KEPT = 8  # seats that those who only look leave free for those who play
KEPT_HERE = 4  # of these, that the network leaves free for this machine
MOST_OF_VIEWER = 8  # seats of one address that may only look; those behind a proxy on this machine have none
MOST_OF_PLAYER = 16  # of one address of the network that may play
SILENT_SECONDS = 1.0  # after which a client may lose its seat to another one, if none is free


class ClientSeat:
    """The place of one client.

    Args:
        role: What the client may do.
        address: What counts as one address.
        watches: Whether it only shows pictures.
        now: Monotonic seconds.

    Attributes:
        heard_at: When it last sent a message, or read what it was sent.
        on_end: Called when it loses its seat.
    """

    def __init__(self, role: str, address: str, watches: bool, now: float) -> None:
        self.role, self.address, self.heard_at = role, address, now
        self.looks = watches or role == VIEW
        self.is_open = bool(address) and is_open(address)  # comes from the network
        self.on_end: Callable[[], None] = lambda: None


class Seats:
    """Counts clients, WebSockets and streams. Who only looks cannot take all seats, nor one address all of any kind.

    Where no seat is free, the client that was silent for longest loses its seat, if it is of the address with the most
    silent ones and was silent for SILENT_SECONDS.

    Args:
        most: The number of seats.
        now: Monotonic seconds.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most, self._now = most, now
        self._taken: list[ClientSeat] = []

    def __len__(self) -> int:
        """The number of clients."""
        return len(self._taken)

    @contextlib.contextmanager
    def taken(self, scope: Scope, watches: bool = False) -> Iterator[ClientSeat | None]:
        """Take a seat while the block runs. Yields None if there was none.

        Args:
            scope: The client's request.
            watches: Whether the client only shows pictures.
        """
        address = network_of(str((scope.get("client") or ("",))[0]))
        seat = ClientSeat(str(scope.get("role")), address, watches, self._now())
        if not all(len(group) < most or self._drop_silent(group, seat) for group, most in self._limits(seat)):
            yield None
            return
        self._taken.append(seat)
        try:
            yield seat
        finally:
            if seat in self._taken:
                self._taken.remove(seat)

    def hear(self, seat: ClientSeat) -> None:
        """A client has sent a message, or has read what it was sent."""
        seat.heard_at = self._now()

    def _limits(self, seat: ClientSeat) -> Iterator[tuple[Sequence[ClientSeat], int]]:
        """The clients that a new one competes with, and how many of them there may be."""
        taken = self._taken
        if seat.is_open:
            of_address = MOST_OF_VIEWER if seat.role == VIEW else MOST_OF_PLAYER
            yield [each for each in taken if (each.address, each.role) == (seat.address, seat.role)], of_address
            yield [each for each in taken if each.is_open], self._most - KEPT_HERE
        if seat.looks:
            yield [each for each in taken if each.looks], self._most - KEPT
        yield taken, self._most

    def _drop_silent(self, group: Sequence[ClientSeat], seat: ClientSeat) -> bool:
        """Take the seat of the client of a group that was silent for longest; return whether there was one.

        A client that only looks takes no seat of one that plays.
        """
        now = self._now()
        silent = [each for each in group if now - each.heard_at >= SILENT_SECONDS and (each.looks or not seat.looks)]
        if not silent:
            return False
        ((address, _),) = Counter(each.address for each in silent).most_common(1)
        dropped = min((each for each in silent if each.address == address), key=lambda each: each.heard_at)
        self._taken.remove(dropped)
        dropped.on_end()
        return True
