"""Mirror: what one client's page shows, as far as the server knows. It decides which echoes that client needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import Change

SETTLE_SECONDS = 1.0  # a move that nobody has confirmed by then was overtaken or voided


class _Asked(NamedTuple):
    value: Value
    time: float


class Mirror:
    """One client's side of the echo rules.

    - A change by anybody else is sent to this client.
    - Its own move is not: the page stands there already, and an echo would fight the finger.
    - Unless the page now shows something else (another's change came in between, a panic voided the move).
    - A move that is never confirmed is put right by `stale`, so that no page shows a wrong value for long.
    """

    def __init__(self, values: Mapping[str, Value], origin: str) -> None:
        self.origin = origin
        self._shown: dict[str, Value | None] = dict(values)  # None: two messages crossed, nobody knows
        self._asked: dict[str, _Asked] = {}
        self._told: dict[str, float] = {}

    def ask(self, name: str, value: Value, now: float) -> None:
        """The client has asked for `value` (coerced already) and shows it, unless another's change crossed its move."""
        crossed = now - self._told.get(name, -math.inf) < SETTLE_SECONDS
        self._shown[name] = None if crossed else value
        self._asked[name] = _Asked(value, now)

    def forget(self) -> None:
        """The client has given a command that voids its moves: whatever comes now is news to it."""
        self._asked.clear()

    def adopt(self, values: Mapping[str, Value]) -> None:
        """The client has been told another table with these values; moves of what has gone are void."""
        self._shown = dict(values)
        self._asked = {name: asked for name, asked in self._asked.items() if name in values}

    def hear(self, change: Change, now: float) -> bool:
        """Whether this client must be told of `change`."""
        if change.origin != self.origin:
            self._shown[change.name], self._told[change.name] = change.value, now
            return True
        asked = self._asked.get(change.name)
        if asked is not None and asked.value != change.value:
            return False  # an older move of its own; the newer one is on its way
        self._asked.pop(change.name, None)
        return self._differs(change.name, change.value)

    def current(self, name: str, values: Mapping[str, Value]) -> Value:
        """The value a page must show whose move was refused: its own earlier move under way, or what is so."""
        asked = self._asked.get(name)
        return asked.value if asked else values[name]

    def stale(self, values: Mapping[str, Value], now: float) -> list[Change]:
        """What this client shows wrongly, moves still under way left out. It is taken to be told."""
        self._asked = {n: a for n, a in self._asked.items() if now - a.time < SETTLE_SECONDS}
        wrong = [n for n, v in values.items() if n not in self._asked and self._differs(n, v)]
        return [Change(name, values[name], "panel") for name in wrong]

    def _differs(self, name: str, value: Value) -> bool:
        before, self._shown[name] = self._shown.get(name), value
        return before != value
