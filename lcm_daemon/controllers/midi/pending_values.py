"""The values that parameters will have once the stage has applied what MIDI requested.

The stage answers some milliseconds later. Until then, a fast encoder or a toggle that is pressed twice must not start
from the old value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.requests import Change

ECHO_TIMEOUT = 0.5  # seconds after which the control state's value counts again, even without an echo


class PendingValues:
    """The control state's values, with the requested ones in front of them.

    Args:
        controls: Control state of the show.
        now: The time in seconds.
    """

    def __init__(self, controls: ControlState, now: Callable[[], float] = time.perf_counter) -> None:
        self._controls, self._now = controls, now
        self._requested: dict[str, tuple[Value, float]] = {}  # with the time of the request
        self._own: set[str] = set()  # parameters that MIDI was the last to change

    def parameter(self, name: str) -> Parameter | None:
        """Return a parameter, or None if the present recipe does not have it."""
        return self._controls.table.get(name)

    def __getitem__(self, name: str) -> Value:
        value, requested = self._requested.get(name, (None, 0.0))
        if value is None or self._now() - requested > ECHO_TIMEOUT:
            return self._controls.values[name]
        return value

    def in_force(self, name: str) -> Value:
        """Return the value where a fade has brought it, without modulation; the requested one if there is one."""
        value, requested = self._requested.get(name, (None, 0.0))
        if value is None or self._now() - requested > ECHO_TIMEOUT:
            return self._controls.faded(name)
        return value

    def start_of_step(self, name: str) -> Value:
        """Return the value that a step is added to: as `in_force`, but not where MIDI's own value is gliding."""
        return self[name] if name in self._own else self.in_force(name)

    def set(self, name: str, value: Any, origin: str) -> bool:
        """Request a value; return whether it is accepted. The present value is requested too: it may be gliding."""
        if not self._controls.set(name, value, origin):
            return False
        try:
            self._requested[name] = self._controls.table[name].coerce(value), self._now()
        except Refused:
            return False
        return True

    def on_changes(self, changes: Iterable[Change]) -> None:
        """Drop the requested value of each parameter that something other than MIDI has changed."""
        for change in changes:
            if change.origin.startswith("midi/"):
                self._own.add(change.name)
            else:
                self._requested.pop(change.name, None)
                self._own.discard(change.name)

    def clear(self) -> None:
        """Drop all requested values."""
        self._requested.clear()
        self._own.clear()
