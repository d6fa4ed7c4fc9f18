"""EchoGate: what peers send back is not a move; a hand always is."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

import pytest

from lcm_daemon.controllers import echo_gate
from lcm_daemon.controllers.echo_gate import DOUBT_SECONDS, EXCUSE_SECONDS, EchoGate, sent_value
from tests.rigs.osc_peers import pass_time, play

PEER = "peer"
REPORT_DELAY = 0.012  # seconds until a change is reported


class Timer:
    """An event of `Room` that can be cancelled, as an asyncio.TimerHandle."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class Room:
    """A value, a peer that may send back what it is sent, and other controllers. Time passes only in `run`.

    Args:
        latency: Seconds until the peer sends back what it was sent; None if it never does.
        own: Whether the peer is sent its own moves, as one that listens on another port than it sends from.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, latency: float | None, own: bool) -> None:
        monkeypatch.setattr(echo_gate.asyncio, "get_running_loop", lambda: self)
        self.time, self.value, self.reports = 0.0, 0.5, 0
        self._gate, self._latency, self._own = EchoGate(now=lambda: self.time), latency, own
        self._events: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def call_later(self, delay: float, act: Callable[..., None], *arguments: object) -> Timer:
        timer = Timer(lambda: act(*arguments))
        heapq.heappush(self._events, (self.time + delay, next(self._numbers), timer))
        return timer

    def move(self, at: float, value: float, who: str = PEER) -> None:
        """A hand at the peer or at another controller moves a fader."""
        self.call_later(at, self._receive if who == PEER else self._set, value, who)

    def run(self) -> float:
        """Let 10 seconds pass; return the value at the end."""
        while self._events and self._events[0][0] < 10.0:
            self.time, _, timer = heapq.heappop(self._events)
            if timer.act is not None:
                timer.act()
        return self.value

    def _receive(self, value: float, who: str) -> None:
        if self._gate.is_move((PEER,), PEER, "fader", value, lambda: self._set(value, who)):
            self._set(value, who)

    def _set(self, value: float, who: str) -> None:
        if value != self.value:  # a move to the target already set is none
            self.value = value
            if self._own or who != PEER:
                self.call_later(REPORT_DELAY, self._report, who)

    def _report(self, who: str) -> None:
        self.reports += 1
        self._gate.report(PEER, "fader", self.value, PEER if who == PEER else "")
        if self._latency is not None:
            self.call_later(self._latency, self._receive, self.value, PEER)


@pytest.mark.parametrize("own", [False, True], ids=["exact", "other port"])
@pytest.mark.parametrize("latency", [None, 0.0, 0.03, 0.1, 0.2])
@pytest.mark.parametrize("gap", [0.005, 0.02, 0.05, 0.1, 0.25])
@pytest.mark.parametrize("values", [(0.1, 0.9), (0.1, 0.9, 0.1)], ids=["two moves", "there and back"])
def test_the_last_move_of_a_hand_wins(
    monkeypatch: pytest.MonkeyPatch, own: bool, latency: float | None, gap: float, values: tuple[float, ...],
) -> None:
    room = Room(monkeypatch, latency, own)
    for number, value in enumerate(values):
        room.move(number * gap, value)
    assert room.run() == values[-1]
    assert room.reports <= 2 * len(values)


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("gap", [0.005, 0.1, 0.4])
def test_what_a_peer_sends_back_does_not_undo_the_moves_of_others(
    monkeypatch: pytest.MonkeyPatch, latency: float, gap: float,
) -> None:
    room = Room(monkeypatch, latency, own=False)
    for number, value in enumerate((0.1, 0.9, 0.3)):
        room.move(number * gap, value, "page")
    assert (room.run(), room.reports) == (0.3, 3)


@pytest.mark.parametrize("latency", [0.3, 0.45])
def test_a_slow_peer_on_another_port_does_not_circle(monkeypatch: pytest.MonkeyPatch, latency: float) -> None:
    room = Room(monkeypatch, latency, own=True)
    for number, value in enumerate((0.1, 0.9, 0.1)):
        room.move(number * 0.1, value)
    room.run()
    assert room.reports < 10


def gate_at(times: list[float]) -> EchoGate:
    return EchoGate(now=lambda: times[0])


def never() -> None:
    raise AssertionError("it was carried out late")


def test_each_report_excuses_one_identical_value_for_a_second() -> None:
    times = [0.0]
    gate = gate_at(times)
    assert not gate.has_reported("x")
    gate.report("a", "x", 0.7)
    assert gate.has_reported("x")
    times[0] = EXCUSE_SECONDS - 0.01
    assert gate.is_move(("a",), "a", "y", 0.7, never), "another control"
    assert gate.is_move(("b",), "b", "x", 0.7, never), "another peer"
    assert gate.is_move(("a",), "a", "x", 0.70001, never), "another value"
    assert not gate.is_move(("b", "a"), "a", "x", 0.699999988079071, never), "the same as a 32-bit float"
    assert gate.is_move(("a",), "a", "x", 0.7, never), "only once"
    gate.report("a", "x", 0.7)
    times[0] += EXCUSE_SECONDS
    assert gate.is_move(("a",), "a", "x", 0.7, never)


@pytest.mark.parametrize(("reported", "received"), [
    ("deep ocean", "deep ocean"), (True, 1), (False, 0.0), (3, 3.0), (1, True), (4_294_967_295, 4_294_967_295),
])
def test_values_are_compared_as_osc_carries_them(reported: object, received: object) -> None:
    gate = EchoGate()
    gate.report("a", "x", reported)
    assert not gate.is_move(("a",), "a", "x", received, never)


def test_with_a_known_latency_a_hand_that_has_moved_since_is_no_echo() -> None:
    times = [0.0]
    gate = EchoGate(latency=0.1, now=lambda: times[0])
    gate.report("a", "x", 127)
    times[0] = 0.2
    assert gate.is_move(("a",), "a", "x", 90, never)
    assert gate.is_move(("a",), "a", "x", 127, never)


def test_a_value_in_doubt_is_carried_out_after_a_while_unless_a_panic_comes() -> None:
    async def scenario() -> None:
        late: list[str] = []
        times = [0.0]
        for name in ("first", "second"):
            gate = gate_at(times)
            gate.report("a", "x", 0.1, "a")
            assert gate.is_move(("a",), "a", "x", 0.9, never)
            assert not gate.is_move(("a",), "a", "x", 0.1, lambda name=name: late.append(name))
            if name == "second":
                gate.clear_waiting()
        pass_time(DOUBT_SECONDS)
        await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        assert late == ["first"]

    play(scenario())


def test_the_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo_gate, "MAX_CONTROLS", 4)
    monkeypatch.setattr(echo_gate, "MAX_PEERS", 3)
    gate = EchoGate()
    for number in range(8):
        gate.report("a", number, 0.5, f"sender {number}")
    for number in range(100):
        gate.report("b", "x", 0.5)
        gate.report(f"peer {number % 5}", "x", 0.5, f"sender {number}")
    assert len(gate._controls) == 4
    assert len(gate._controls["x"].reports) == len(gate._controls["x"].senders) == 3
    assert max(len(reports.kept) for reports in gate._controls["x"].reports.values()) <= echo_gate.MAX_REPORTS


def test_the_value_of_a_message() -> None:
    assert sent_value([0.5, 0.7]) == 0.5
    assert sent_value(["deep", "blue", "ocean"]) == "deep blue ocean"
    assert sent_value([]) is None
