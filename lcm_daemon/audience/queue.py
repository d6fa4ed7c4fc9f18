"""VisitorQueue: who waits, who has a seat, and for how long. Pure: its time comes from a clock that is passed in."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

SILENCE_SECONDS = 15.0  # after which a visitor who has a seat loses it, and one who waits is not called
PATIENCE_SECONDS = 120.0  # after which a silent visitor loses a place in the queue: phones lock their screens
MOST_EXTENSION = 3600.0  # seconds of one extension
LENGTHS_KEPT = 16  # turns that the expected length of a turn is the mean of
MOST_STEP = 2.0  # seconds of a clock's step that a SteadyClock counts

Reason = Literal["time", "left", "silent", "skipped", "blocked"]


class SteadyClock:
    """Counts the time in which it was read: a step of its clock counts as MOST_STEP at most, and as 0 backwards.

    A process that was stopped, or a machine that slept, read nothing from its visitors. That time is not their silence,
    and no part of their turns. Read it more often than every MOST_STEP seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._last, self._time = now, now(), 0.0

    def __call__(self) -> float:
        """Seconds since the clock was made."""
        now = self._now()
        if math.isfinite(now):
            self._time += min(max(now - self._last, 0.0), MOST_STEP)
            self._last = now
        return self._time


@dataclass(frozen=True)
class Called:
    """A session has been given a seat."""

    session: int
    seat: int


@dataclass(frozen=True)
class Gone:
    """A session has lost its seat, or its place in the queue (seat -1)."""

    session: int
    seat: int
    reason: Reason


Event = Called | Gone


@dataclass
class Visitor:
    """A session that waits or has a seat.

    Attributes:
        session: Number of the session.
        heard: When its connection was last heard.
        is_new: Whether it has not been heard since it joined: it is not called before.
        seat: Its seat, counted from 0; -1 while it waits.
        begun: When its turn began.
        ends: When its turn ends.
    """

    session: int
    heard: float
    is_new: bool = True
    seat: int = -1
    begun: float = 0.0
    ends: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds of silence that end its session."""
        return SILENCE_SECONDS if self.seat >= 0 or self.is_new else PATIENCE_SECONDS


class VisitorQueue:
    """First come, first served; one turn of `seconds` a session.

    Args:
        places: Number of seats.
        limit: How many sessions may wait for one.
        seconds: Length of a turn.
        now: Monotonic seconds.
    """

    def __init__(self, places: int, limit: int, seconds: float, now: Callable[[], float]) -> None:
        self.places, self.limit, self.seconds = places, limit, seconds
        self._now = now
        self._visitors: dict[int, Visitor] = {}  # in the order in which they came
        self._lengths: deque[float] = deque([seconds], LENGTHS_KEPT)

    def __len__(self) -> int:
        """The number of sessions that wait or have a seat."""
        return len(self._visitors)

    def __contains__(self, session: int) -> bool:
        return session in self._visitors

    # --- what visitors do ---

    def room_in(self) -> float:
        """Seconds after which a new session may find room; 0 if there is room now."""
        free = self.places - len(self.seated())
        if len(self.waiting()) < self.limit + free:
            return 0.0
        return max(min((visitor.ends for visitor in self.seated()), default=0.0) - self._now(), 1.0)

    def join(self, session: int) -> None:
        """Take the last place in the queue. A session that has one, or a seat, keeps it. Check `room_in` before."""
        if session not in self._visitors:
            self._visitors[session] = Visitor(session, self._now())

    def hear(self, session: int) -> None:
        """Its connection sent something."""
        if session in self._visitors:
            self._visitors[session].heard, self._visitors[session].is_new = self._now(), False

    def end(self, session: int, reason: Reason) -> list[Event]:
        """Take away the seat or the place of a session. Empty if it has none."""
        visitor = self._visitors.pop(session, None)
        if visitor is None:
            return []
        if visitor.seat >= 0 and reason != "silent":
            self._lengths.append(max(self._now() - visitor.begun, 1.0))
        return [Gone(session, visitor.seat, reason)]

    # --- what the performer does ---

    def extend(self, session: int, seconds: float) -> bool:
        """Prolong a turn; returns False for a session without a seat, and for a time that is none."""
        visitor = self._visitors.get(session)
        if visitor is None or visitor.seat < 0 or not 0.0 < seconds <= MOST_EXTENSION:
            return False
        visitor.ends += seconds
        return True

    # --- time ---

    def step(self) -> list[Event]:
        """End the turns whose time is over and those of silent visitors, and call the next ones. Call it often."""
        now, events = self._now(), list[Event]()
        for visitor in list(self._visitors.values()):
            if visitor.seat >= 0 and now >= visitor.ends:
                events += self.end(visitor.session, "time")
            elif now - visitor.heard >= visitor.patience:
                events += self.end(visitor.session, "silent")
        return events + self._call_next(now)

    def _call_next(self, now: float) -> list[Event]:
        """Give free seats to those who wait. A silent one is passed over, and keeps its place."""
        taken = {visitor.seat for visitor in self.seated()}
        free = [seat for seat in range(self.places) if seat not in taken]
        ready = [each for each in self.waiting() if not each.is_new and now - each.heard < SILENCE_SECONDS]
        events: list[Event] = []
        for seat, visitor in zip(free, ready, strict=False):
            visitor.seat, visitor.begun, visitor.ends = seat, now, now + self.seconds
            events.append(Called(visitor.session, seat))
        return events

    # --- what pages show ---

    def waiting(self) -> list[Visitor]:
        """Those who wait, in order."""
        return [visitor for visitor in self._visitors.values() if visitor.seat < 0]

    def seated(self) -> list[Visitor]:
        """Those who have a seat."""
        return [visitor for visitor in self._visitors.values() if visitor.seat >= 0]

    def seat_of(self, session: int) -> int:
        """The seat of a session; -1 if it has none."""
        visitor = self._visitors.get(session)
        return visitor.seat if visitor else -1

    def seconds_left(self, session: int) -> float:
        """Until the turn of a session ends; 0 if it has no seat."""
        visitor = self._visitors.get(session)
        return max(visitor.ends - self._now(), 0.0) if visitor and visitor.seat >= 0 else 0.0

    def waits(self) -> dict[int, float]:
        """The expected seconds until its turn of each session that waits, in order."""
        *found, _ = self._waits()
        return dict(found)

    def wait_at_end(self) -> float:
        """The expected seconds until the turn of a session that joins now."""
        return self._waits()[-1][1]

    def _waits(self) -> list[tuple[int, float]]:
        """Session and expected wait; the last row, of session 0, is for the one that joins next."""
        now, length = self._now(), sum(self._lengths) / len(self._lengths)
        free = [max(visitor.ends - now, 0.0) for visitor in self.seated()]
        free += [0.0] * (self.places - len(free))
        heapq.heapify(free)
        rows = []
        for session in [*(visitor.session for visitor in self.waiting()), 0]:
            rows.append((session, free[0]))
            heapq.heapreplace(free, free[0] + length)
        return rows

    # --- what a later server gets ---

    def kept(self, session: int) -> tuple[Any, ...]:
        """What `restore` needs of a session, with times that count from now. Raises KeyError if it has no place."""
        now, visitor = self._now(), self._visitors[session]
        return session, visitor.is_new, visitor.seat, now - visitor.begun, visitor.ends - now

    def restore(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take over what `kept` gave, in the order of the queue. All count as heard now.

        Those whose seat this queue lacks wait again.
        """
        now = self._now()
        for session, is_new, seat, elapsed, left in rows:
            has_seat = 0 <= seat < self.places
            turn = (seat, now - elapsed, now + left) if has_seat else (-1, 0.0, 0.0)
            self._visitors[session] = Visitor(session, now, is_new, *turn)
