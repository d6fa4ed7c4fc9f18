"""Values: the board's values as they will be once the stage has taken what MIDI asked for.

The stage answers some milliseconds later. An encoder that is turned fast, or a toggle pressed twice, must not count
from the old value meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.requests import Change

SETTLE = 0.5  # seconds after which the board's value is the truth again, whatever became of ours


class Values:
    def __init__(self, controls: ControlState, now: Callable[[], float] = time.perf_counter) -> None:
        self._board, self._now = controls, now
        self._asked: dict[str, tuple[Value, float]] = {}

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, if the present recipe has it."""
        return self._board.table.get(name)

    def __getitem__(self, name: str) -> Value:
        value, asked = self._asked.get(name, (None, 0.0))
        if value is None or self._now() - asked > SETTLE:
            return self._board.values[name]
        return value

    def set(self, name: str, value: Any, origin: str) -> bool:
        """Ask for a value; whether the board took it. One that is so already is asked for again: it may be gliding."""
        if not self._board.set(name, value, origin):
            return False
        try:
            self._asked[name] = self._board.table[name].coerce(value), self._now()
        except Refused:
            return False
        return True

    def hear(self, changes: Iterable[Change]) -> None:
        """What others have moved is where they moved it."""
        for change in changes:
            if not change.origin.startswith("midi/"):
                self._asked.pop(change.name, None)

    def forget(self) -> None:
        """The board's values alone count."""
        self._asked.clear()
