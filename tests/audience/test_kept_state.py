"""What a later server gets: changes that add up to the whole."""

from __future__ import annotations

from lcm_daemon.audience.kept_state import KeptState
from lcm_daemon.audience.messages import Kept
from lcm_daemon.audience.queue import VisitorQueue
from lcm_daemon.audience.sessions import VisitorSessions


class Hall:
    def __init__(self) -> None:
        self.time = 10.0
        self.queue, self.sessions = VisitorQueue(1, 5, 60.0, lambda: self.time), VisitorSessions(8)
        self.state = KeptState(self.queue, self.sessions)

    def join(self) -> int:
        session, _ = self.sessions.start("10.0.0.7")
        self.queue.join(session.number)
        self.state.note(session.number)
        return session.number


def test_only_changes_are_sent_and_they_add_up() -> None:
    hall, kept = Hall(), Kept({})
    for _ in range(3):
        hall.join()
    first = hall.state.changes(True)
    assert [*first.state] == ["1", "2", "3", "door"]
    kept = kept.updated(first)
    assert hall.state.changes(True).state == {}
    assert [*hall.state.changes(False).state] == ["door"]

    hall.queue.hear(1)
    hall.queue.step()
    hall.state.note_turns()
    hall.sessions.block(2)
    for number in (2, 3):
        hall.queue.end(number, "blocked")
        hall.sessions.end(number)
        hall.state.note(number)
    changes = hall.state.changes(True)
    assert (changes.state["2"], changes.state["3"]) == (None, None)
    kept = kept.updated(changes)
    assert {*kept.state} == {"1", "door", "blocked"}

    later = Hall()
    assert later.state.restore(kept)
    assert (later.queue.seat_of(1), later.queue.seconds_left(1)) == (0, 60.0)
    assert later.sessions.is_blocked("10.0.0.7")
    assert later.join() > 3


def test_sessions_come_back_in_their_order() -> None:
    hall, kept = Hall(), Kept({})
    for _ in range(12):
        hall.join()
        kept = kept.updated(hall.state.changes(False))
    hall.state.note(2)  # a change moves no one
    kept = Kept(dict(reversed([*kept.updated(hall.state.changes(False)).state.items()])))
    later = Hall()
    assert not later.state.restore(kept)
    assert [visitor.session for visitor in later.queue.waiting()] == list(range(1, 13))
