"""PlaceNews: which pages are told next where they are in the queue. Few at a time, so that no answer waits for them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Container
from typing import Any

from lcm_daemon.audience import page_messages
from lcm_daemon.audience.queue import VisitorQueue

PUSH_SECONDS = 0.025  # between two calls of `due`
MOST_PUSHED = 5  # pages of one call: up to 200 pages are told within a second
ROUND_SECONDS = 1.0  # between two messages to a page after a change
BEAT_SECONDS = 4.0  # between two messages to a page without a change; pages answer each, so they are heard as often
WAITS_SECONDS = 0.2  # how old the expected waits may be


class PlaceNews:
    """Goes round all sessions, those with a seat first.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, queue: VisitorQueue, now: Callable[[], float]) -> None:
        self._queue, self._now = queue, now
        self._begun, self._changed = 0.0, False
        self._next: deque[int] = deque()  # sessions that have yet to be told in this round
        self._waits: dict[int, tuple[int, float]] = {}  # place and expected wait
        self._waits_at = -math.inf

    def note(self) -> None:
        """A session has joined or ended, or has a seat: the places of others may have changed."""
        self._changed = True

    def due(self, connected: Container[int]) -> list[tuple[int, dict[str, Any]]]:
        """Sessions whose pages are to be told now, and what."""
        now = self._now()
        if not self._next and now - self._begun >= (ROUND_SECONDS if self._changed else BEAT_SECONDS):
            self._begun, self._changed = now, False
            self._next.extend(visitor.session for visitor in (*self._queue.seated(), *self._queue.waiting()))
        most = max(MOST_PUSHED, math.ceil(len(self._queue) * PUSH_SECONDS / BEAT_SECONDS))
        numbers = [self._next.popleft() for _ in range(min(most, len(self._next)))]
        return [(number, self.state(number)) for number in numbers if number in connected]

    def state(self, session: int) -> dict[str, Any]:
        """Where a session is: its place in the queue, from 1, and the expected wait; or what is left of its turn."""
        if self._queue.seat_of(session) >= 0 or session not in self._queue:
            return page_messages.turn(self._queue.seconds_left(session))
        if session not in self._waits or self._now() - self._waits_at >= WAITS_SECONDS:
            self._waits_at, waits = self._now(), self._queue.waits()
            self._waits = {number: (place, wait) for place, (number, wait) in enumerate(waits.items(), 1)}
        return page_messages.waiting(*self._waits[session])
