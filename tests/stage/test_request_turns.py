"""RequestTurns: requests are carried out in their order, a little at a time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change, CommandRequest, RequestQueue
from lcm_daemon.stage import request_turns
from lcm_daemon.stage.request_turns import RequestTurns


class FakeDesk:
    """A desk that has sent some queues."""

    def __init__(self, *queues: RequestQueue) -> None:
        self.queues, self.told, self.receipts = list(queues), list[Change](), list[int]()

    def step(self, values: Mapping[str, Value], now: float) -> list[RequestQueue]:
        queues, self.queues = self.queues, []
        return queues

    def tell(self, changes: list[Change]) -> None:
        self.told += changes

    def acknowledge(self, queue: RequestQueue) -> None:
        self.receipts.append(queue.receipt)


def queue_of(receipt: int, *names: str) -> RequestQueue:
    return RequestQueue([CommandRequest(name, "osc/1") for name in names], receipt)


def test_a_queue_that_takes_longer_than_a_turn_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_turns, "TURN", -1.0)
    done, woken = list[str](), list[int]()
    desk = FakeDesk(queue_of(1, "a", "b"), queue_of(2, "c"))

    def execute(request: Change | CommandRequest, now: float) -> list[Change]:
        done.append(request.name)
        if request.name == "b":
            raise ZeroDivisionError
        return [Change(request.name, now, request.origin)]

    turns = RequestTurns(desk, execute, lambda: woken.append(len(done)))
    turns.serve({}, 1.0)
    assert (done, desk.receipts, woken) == (["a"], [], [1])
    with pytest.raises(ZeroDivisionError):  # the stage's guard counts it; the request is not repeated
        turns.serve({}, 2.0)
    turns.serve({}, 3.0)
    assert (done, desk.receipts) == (["a", "b", "c"], [1])
    turns.serve({}, 4.0)
    assert desk.receipts == [1, 2]
    assert desk.told == [Change("a", 1.0, "osc/1"), Change("c", 3.0, "osc/1")]
