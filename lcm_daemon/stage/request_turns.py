"""RequestTurns: carries out what controllers request, a little at a time, so that a flood does not delay the tick."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change, CommandRequest, RequestQueue

TURN = 0.004  # seconds of work, after which the stage does other things


class Requests(Protocol):
    """The desk, where requests come from."""

    def step(self, values: Mapping[str, Value], now: float) -> list[RequestQueue]: ...

    def tell(self, changes: list[Change]) -> None: ...

    def acknowledge(self, queue: RequestQueue) -> None: ...


class RequestTurns:
    """Holds the queues that are not carried out yet. Requests keep their order.

    Args:
        desk: Where they come from.
        execute: Carries out one request at a time in monotonic seconds; returns what has changed.
        wake: Lets the stage serve again soon: more is to be done, or the desk waits for an answer.
    """

    def __init__(
        self, desk: Requests, execute: Callable[[Change | CommandRequest, float], list[Change]],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._desk, self._execute, self._wake = desk, execute, wake
        self._waiting: deque[tuple[RequestQueue, Iterator[Change | CommandRequest]]] = deque()

    def serve(self, values: Mapping[str, Value], now: float) -> None:
        """Read requests and carry them out for one turn.

        Args:
            values: Every parameter's value, for a new desk.
            now: Monotonic seconds.
        """
        self._waiting.extend((queue, iter(queue)) for queue in self._desk.step(values, now))
        end = time.perf_counter() + TURN
        while self._waiting:
            queue, requests = self._waiting[0]
            for request in requests:
                self._desk.tell(self._execute(request, now))
                if time.perf_counter() > end:
                    return self._wake()
            self._waiting.popleft()
            self._desk.acknowledge(queue)
            if queue.receipt:
                self._wake()
        return None
