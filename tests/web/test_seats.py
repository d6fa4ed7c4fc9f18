"""Seats: viewers leave some to those who play, and to each other."""

from __future__ import annotations

import contextlib
import functools

from lcm_daemon.core.network import PLAY, VIEW
from lcm_daemon.web.seats import KEPT, KEPT_HERE, MOST_OF_PLAYER, MOST_OF_VIEWER, SILENT_SECONDS, Seats


def sit(stack: contextlib.ExitStack, seats: Seats, role: str, address: str, clients: int,
        watches: bool = False) -> int:
    """How many of the clients got a seat."""
    scope = {"role": role, "client": (address, 5)}
    return sum(stack.enter_context(seats.taken(scope, watches)) is not None for _ in range(clients))


def test_viewers_leave_seats_to_players_and_to_each_other() -> None:
    seats = Seats(32, lambda: 0.0)
    with contextlib.ExitStack() as stack:
        assert sit(stack, seats, VIEW, "10.0.0.1", 40) == MOST_OF_VIEWER
        assert sit(stack, seats, VIEW, "fd00::1", 5) + sit(stack, seats, VIEW, "fd00::2", 5) == MOST_OF_VIEWER
        assert sit(stack, seats, VIEW, "127.0.0.1", 40) == 32 - KEPT - 2 * MOST_OF_VIEWER, "a proxy speaks for many"
        assert sit(stack, seats, VIEW, "10.0.0.3", 1) == 0
        assert sit(stack, seats, PLAY, "10.0.0.1", 40) == KEPT
        assert len(seats) == 32
    assert not seats


def test_players_of_the_network_leave_seats_to_each_other_and_to_this_machine() -> None:
    seats = Seats(32, lambda: 0.0)
    with contextlib.ExitStack() as stack:
        assert sit(stack, seats, PLAY, "10.0.0.1", 40) == MOST_OF_PLAYER
        assert sit(stack, seats, PLAY, "10.0.0.2", 40) == 32 - KEPT_HERE - MOST_OF_PLAYER
        assert sit(stack, seats, PLAY, "127.0.0.1", 40) == KEPT_HERE


def test_pages_find_a_seat_beside_streams() -> None:
    seats = Seats(32, lambda: 0.0)
    with contextlib.ExitStack() as stack:
        assert sit(stack, seats, PLAY, "127.0.0.1", 40, watches=True) == 32 - KEPT
        assert sit(stack, seats, PLAY, "127.0.0.1", 1) == 1


def test_the_client_that_is_silent_for_longest_makes_room() -> None:
    now, seats, dropped = [0.0], Seats(2, lambda: now[0]), list[str]()
    with contextlib.ExitStack() as stack:
        assert sit(stack, seats, PLAY, "10.0.0.1", 2) == 0, "of two seats, four are kept for this machine"
        for name in ("one", "two"):
            seat = stack.enter_context(seats.taken({"role": PLAY, "client": ("127.0.0.1", 1)}))
            assert seat is not None
            seat.on_end = functools.partial(dropped.append, name)
            now[0] += 0.1
        assert sit(stack, seats, PLAY, "127.0.0.1", 1) == 0, "both have spoken just now"
        now[0] += SILENT_SECONDS
        seats.hear(seats._taken[0])
        assert sit(stack, seats, VIEW, "127.0.0.1", 1) == 0, "a viewer takes the seat of no player"
        assert sit(stack, seats, PLAY, "127.0.0.1", 1) == 1
        assert dropped == ["two"]
        assert len(seats) == 2
