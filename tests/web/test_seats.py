"""Seats: viewers leave some to those who play, and to each other."""

from __future__ import annotations

import contextlib

from lcm_daemon.core.network import PLAY, VIEW
from lcm_daemon.web.seats import KEPT, MOST_OF_VIEWER, Seats


def sit(stack: contextlib.ExitStack, seats: Seats, role: str, address: str, clients: int) -> int:
    """How many of the clients got a seat."""
    scope = {"role": role, "client": (address, 5)}
    return sum(stack.enter_context(seats.taken(scope)) for _ in range(clients))


def test_viewers_leave_seats_to_players_and_to_each_other() -> None:
    seats = Seats(32)
    with contextlib.ExitStack() as stack:
        assert sit(stack, seats, VIEW, "10.0.0.1", 40) == MOST_OF_VIEWER
        assert sit(stack, seats, VIEW, "fd00::1", 5) + sit(stack, seats, VIEW, "fd00::2", 5) == MOST_OF_VIEWER
        assert sit(stack, seats, VIEW, "127.0.0.1", 40) == 32 - KEPT - 2 * MOST_OF_VIEWER, "a proxy speaks for many"
        assert sit(stack, seats, VIEW, "10.0.0.3", 1) == 0
        assert sit(stack, seats, PLAY, "10.0.0.1", 40) == KEPT
        assert len(seats) == 32
    assert not seats
