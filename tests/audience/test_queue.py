"""The queue, played with a clock of the test's: order, turns, silence, and what visitors are told."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lcm_daemon.audience.queue import (
    PATIENCE_SECONDS,
    SILENCE_SECONDS,
    Called,
    Gone,
    SteadyClock,
    VisitorQueue,
)

SECONDS = 60.0


class Hall:
    """A queue whose visitors are heard at every step, unless they are in `silent`."""

    def __init__(self, places: int = 2, limit: int = 3) -> None:
        self.time = 0.0
        self.queue = VisitorQueue(places, limit, SECONDS, lambda: self.time)
        self.silent: set[int] = set()

    def join(self, *sessions: int) -> list[Called | Gone]:
        for session in sessions:
            self.queue.join(session)
            self.queue.hear(session)
        return self.queue.step()

    def after(self, seconds: float) -> list[Called | Gone]:
        events = []
        for _ in range(round(seconds)):
            self.time += 1.0
            for visitor in (*self.queue.waiting(), *self.queue.seated()):
                if visitor.session not in self.silent:
                    self.queue.hear(visitor.session)
            events += self.queue.step()
        return events


def waiting(queue: VisitorQueue) -> list[int]:
    return [visitor.session for visitor in queue.waiting()]


def test_visitors_are_called_in_their_order() -> None:
    hall = Hall()
    assert hall.join(1, 2, 3, 4, 5) == [Called(1, 0), Called(2, 1)]
    assert waiting(hall.queue) == [3, 4, 5]
    assert hall.after(SECONDS) == [Gone(1, 0, "time"), Gone(2, 1, "time"), Called(3, 0), Called(4, 1)]
    assert hall.queue.end(4, "left") == [Gone(4, 1, "left")]
    assert hall.queue.step() == [Called(5, 1)]
    assert hall.queue.end(4, "left") == []


def test_beyond_the_limit_it_is_full_for_as_long_as_the_next_turn() -> None:
    hall = Hall(places=1, limit=2)
    hall.join(1)
    hall.after(20)
    hall.join(2, 3)
    assert hall.queue.room_in() == SECONDS - 20
    hall.after(SECONDS - 20)
    assert hall.queue.room_in() == 0.0
    hall.queue.end(3, "left")
    assert hall.queue.room_in() == 0.0


def test_without_a_queue_there_is_room_while_a_seat_is_free() -> None:
    hall = Hall(places=1, limit=0)
    assert hall.queue.room_in() == 0.0
    hall.join(1)
    assert hall.queue.room_in() == SECONDS


def test_the_expected_wait_follows_from_the_lengths_of_turns() -> None:
    hall = Hall()
    assert hall.queue.wait_at_end() == 0.0
    hall.join(1, 2, 3, 4, 5)
    assert hall.queue.waits() == {3: SECONDS, 4: SECONDS, 5: 2 * SECONDS}
    assert hall.queue.wait_at_end() == 2 * SECONDS
    hall.after(20)
    assert hall.queue.waits() == {3: 40.0, 4: 40.0, 5: 100.0}
    hall.queue.end(1, "left")  # after 20 s: the mean of 60 and 20 is 40
    hall.queue.step()
    assert hall.queue.waits() == {4: 40.0, 5: SECONDS}


def test_silence_frees_the_seat_and_a_reconnection_in_time_keeps_it() -> None:
    hall = Hall()
    hall.join(1, 2, 3)
    hall.silent = {1}
    assert hall.after(SILENCE_SECONDS - 1) == []
    hall.silent = set()
    assert hall.after(1) == []
    hall.silent = {1}
    assert hall.after(SILENCE_SECONDS) == [Gone(1, 0, "silent"), Called(3, 0)]


def test_a_silent_visitor_is_passed_over_and_keeps_the_place_for_a_while() -> None:
    hall = Hall(places=1, limit=9)
    hall.join(1, 2, 3)
    hall.silent = {2}
    assert hall.after(SECONDS) == [Gone(1, 0, "time"), Called(3, 0)]
    assert waiting(hall.queue) == [2]
    hall.silent = set()
    assert hall.after(SECONDS) == [Gone(3, 0, "time"), Called(2, 0)]
    hall.join(4)
    hall.silent = {4}
    hall.queue.extend(2, 600)
    assert hall.after(PATIENCE_SECONDS) == [Gone(4, -1, "silent")]


def test_a_session_that_never_connects_is_not_called() -> None:
    hall = Hall(places=1)
    hall.queue.join(1)
    assert hall.join(2) == [Called(2, 0)]
    assert waiting(hall.queue) == [1]
    hall.silent = {1}
    assert hall.after(SILENCE_SECONDS) == [Gone(1, -1, "silent")]


def test_the_performer_extends_and_skips() -> None:
    hall = Hall(places=1)
    hall.join(1, 2)
    assert hall.queue.extend(1, 30)
    assert hall.queue.seconds_left(1) == SECONDS + 30
    for seconds in (0, -5, float("nan"), float("inf"), 1e9):
        assert not hall.queue.extend(1, seconds)
    assert not hall.queue.extend(2, 30)
    assert not hall.queue.extend(77, 30)
    assert hall.queue.end(1, "skipped") == [Gone(1, 0, "skipped")]
    assert hall.queue.step() == [Called(2, 0)]


def test_two_tabs_have_one_place() -> None:
    hall = Hall(places=1)
    hall.join(1, 2, 2, 1)
    assert len(hall.queue) == 2
    assert waiting(hall.queue) == [2]
    assert hall.queue.seat_of(1) == 0


def test_a_later_queue_takes_over_turns_and_order() -> None:
    hall = Hall()
    hall.join(1, 2, 3, 4)
    hall.after(20)
    later = Hall()
    later.time = 5000.0
    later.queue.restore([hall.queue.kept(n) for n in (1, 2, 3, 4)])
    assert later.queue.step() == []
    assert waiting(later.queue) == [3, 4]
    assert later.queue.seconds_left(1) == 40.0
    assert later.queue.seat_of(2) == 1
    smaller = Hall(places=1)
    smaller.queue.restore([hall.queue.kept(n) for n in (1, 2, 3, 4)])
    assert smaller.queue.step() == []
    assert waiting(smaller.queue) == [2, 3, 4]


@pytest.mark.parametrize("jump", [1e9, -1e9, float("nan"), float("inf"), 3600.0])
def test_a_clock_that_jumps_costs_nobody_a_turn(jump: float) -> None:
    time = [100.0]
    clock = SteadyClock(lambda: time[0])
    queue = VisitorQueue(1, 3, SECONDS, clock)
    queue.join(1)
    queue.hear(1)
    queue.step()
    time[0] += 10.0
    before = queue.seconds_left(1)
    time[0] += jump
    assert queue.step() == []
    assert before - queue.seconds_left(1) <= 2.0
    for _ in range(70):
        time[0] = 200.0 + clock() + 1.0 if time[0] != time[0] or abs(time[0]) == float("inf") else time[0] + 1.0
        queue.hear(1)
        if queue.step():
            return
    pytest.fail("the turn did not end")


class QueueMachine(RuleBasedStateMachine):
    """Whatever visitors and the performer do in whatever order: first come, first served, one turn each."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.queue = VisitorQueue(2, 4, SECONDS, SteadyClock(lambda: self.time))
        self.numbers = itertools.count(1)
        self.joined: list[int] = []
        self.called: list[int] = []
        self.gone: dict[int, str] = {}
        self.seats: dict[int, int] = {}
        self.muted: set[int] = set()

    def note(self, events: list[Called | Gone]) -> None:
        for event in events:
            if isinstance(event, Called):
                assert event.session not in self.called
                assert event.seat not in self.seats
                earlier = [n for n in self.joined if n < event.session and n not in self.called and n not in self.gone]
                assert set(earlier) <= self.muted  # only silent ones are passed over
                self.called.append(event.session)
                self.seats[event.seat] = event.session
            else:
                assert event.session not in self.gone
                self.gone[event.session] = event.reason
                if event.seat >= 0:
                    assert self.seats.pop(event.seat) == event.session

    def present(self) -> list[int]:
        return [n for n in self.joined if n not in self.gone]

    @rule()
    def join(self) -> None:
        if self.queue.room_in() == 0.0:
            number = next(self.numbers)
            self.joined.append(number)
            self.queue.join(number)
            self.queue.hear(number)
            self.note(self.queue.step())

    @rule(seconds=st.floats(0.1, 30.0))
    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 2) + 1):
            self.time += 0.5
            for number in self.present():
                if number not in self.muted:
                    self.queue.hear(number)
            self.note(self.queue.step())

    @rule(jump=st.sampled_from([1e6, -1e6, 500.0, -0.5]))
    def clock_jumps(self, jump: float) -> None:
        self.time += jump
        self.note(self.queue.step())

    @rule(index=st.integers(0, 9), reason=st.sampled_from(["left", "skipped", "blocked"]))
    def end(self, index: int, reason: str) -> None:
        if index < len(self.present()):
            self.note(self.queue.end(self.present()[index], reason))
            self.note(self.queue.step())

    @rule(index=st.integers(0, 9))
    def mute(self, index: int) -> None:
        if index < len(self.present()):
            self.muted ^= {self.present()[index]}

    @rule(index=st.integers(0, 9), seconds=st.floats(-10.0, 100.0))
    def extend(self, index: int, seconds: float) -> None:
        if index < len(self.present()):
            self.queue.extend(self.present()[index], seconds)

    @rule()
    def restart(self) -> None:
        kept = [self.queue.kept(session) for session in self.present()]
        self.queue = VisitorQueue(2, 4, SECONDS, SteadyClock(lambda: self.time))
        self.queue.restore(kept)

    @invariant()
    def nobody_is_lost_or_doubled(self) -> None:
        waiting = [visitor.session for visitor in self.queue.waiting()]
        assert waiting == sorted(waiting)
        assert len(waiting) <= 4 + 2
        assert sorted([*waiting, *self.seats.values()]) == self.present()
        assert {seat: n for n in self.seats.values() for seat in [self.queue.seat_of(n)]} == self.seats
        assert [*self.queue.waits()] == waiting
        assert all(wait >= 0 for wait in self.queue.waits().values())
        assert self.queue.room_in() >= 0.0


QueueMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestQueue = QueueMachine.TestCase
