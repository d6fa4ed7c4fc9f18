"""RefusalLog: what was refused lately, as the list "refusals" that every page shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lcm_daemon.core.control_state import ControlState, Row
from lcm_daemon.core.origins import describe_origin
from lcm_daemon.core.refusals import Refusal

NAME = "refusals"
MAX_ROWS = 50
MAX_TEXT = 300  # characters
PUBLISH_SECONDS = 0.5  # between two publications of the list: a flood costs two messages a second


@dataclass
class _Entry:
    number: int
    at: str
    by: str
    text: str
    count: int = 1


class RefusalLog:
    """Collects refusals, the newest last. A repeated one moves to the end and is counted.

    Args:
        controls: Where refusals come from and where the list goes to.
        later: Calls a function after some seconds, on the event loop.
        clock: The time of day as "21:30:05".
    """

    def __init__(
        self, controls: ControlState, later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
    ) -> None:
        self._controls, self._later, self._clock = controls, later, clock
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._number = 0  # of the newest one, repeats included
        self._is_waiting = False  # a publication is due
        controls.subscribe(on_refusal=self.add)

    def add(self, refusal: Refusal) -> None:
        """Add a refusal, and publish the list now or shortly."""
        by, text = describe_origin(refusal.origin) or "lcm-daemon", refusal.text[:MAX_TEXT]
        self._number += 1
        entry = self._entries.pop((by, text), None) or _Entry(0, "", by, text, 0)
        entry.number, entry.at, entry.count = self._number, self._clock(), entry.count + 1
        self._entries[by, text] = entry
        if len(self._entries) > MAX_ROWS:
            del self._entries[next(iter(self._entries))]
        if not self._is_waiting:
            self._is_waiting = True
            self._publish()
            self._later(PUBLISH_SECONDS, self._end_pause)

    def _end_pause(self) -> None:
        """Publish what has come since the last publication; without any, the next refusal is published at once."""
        if self._publish():
            self._later(PUBLISH_SECONDS, self._end_pause)
        else:
            self._is_waiting = False

    def _publish(self) -> bool:
        """Publish the list; return whether it has changed."""
        rows: tuple[Row, ...] = tuple(
            {"number": entry.number, "at": entry.at, "by": entry.by, "text": entry.text, "count": entry.count}
            for entry in self._entries.values())
        if self._controls.lists.get(NAME) == rows:
            return False
        self._controls.set_list(NAME, rows)
        return True
