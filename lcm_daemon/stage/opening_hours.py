"""HoursKeeper: opens and closes a show by the time of day.

What should be is derived from the time in each second; nothing depends on a moment at which the daemon runs. So it is
right after a start in the middle of the day, after sleep, after a change of summer time, and after a clock was set.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lcm_daemon.automation.daily_schedule import CLOCK_IS_SET
from lcm_daemon.automation.opening_times import Period, SteadyTime
from lcm_daemon.core.parameters import Value
from lcm_daemon.shows.opening_hours import OpeningHours
from lcm_daemon.stage.closed_show import ClosedShow

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0  # after which the next change is looked for again


class HoursKeeper:
    """An attendant. Times of the wall clock are seconds since 1970.

    Args:
        stage: The show.
        hours: Its section `opening_hours`.
        wall: Returns the time of the wall clock.

    Attributes:
        is_open: Whether the show is to be open.
        period: The period in which it is open now, or which begins soon; None while neither is so.
        wall: The time that this was found at.
        closed: What happens while it is closed.
    """

    name = "the opening hours"

    def __init__(self, stage: Stage, hours: OpeningHours, wall: Callable[[], float] = time.time) -> None:
        self._stage, self._times, self._warm_up, self._clock = stage, hours.times, hours.warm_up, wall
        self._steady, self._second = SteadyTime(), -1
        self._found_at = self._known_until = 0.0
        self._change_at: float | None = None  # when it opens or closes next; None if not within weeks
        self.is_open, self.wall = True, 0.0
        self.period: Period | None = None
        if hours.times.zone is not None:
            stage.automation.cue_list.schedule.zone = hours.times.zone
        self._look()
        self._log()
        self.closed = ClosedShow(stage, hours, self.is_open)

    @property
    def opens_soon(self) -> bool:
        """Whether it opens within `warm_up` seconds."""
        return not self.is_open and self.period is not None

    def step(self, now: float) -> None:
        before = self.is_open
        self._look()
        if self.is_open != before:
            self._log()
        self.closed.step(self.is_open, self.opens_soon, now)

    def status(self) -> Mapping[str, Value]:
        return {"hours": self.describe(), "hours_open": self.is_open}

    def stop(self) -> None:
        self.closed.stop()

    def describe(self) -> str:
        """In words: "open until Sat 28 Nov 18:00"."""
        word = "open" if self.is_open else "closed"
        if self._change_at is None:
            return word
        return f"{word} until {datetime.fromtimestamp(self._change_at, self._times.zone):%a %d %b %H:%M}"

    def _look(self) -> None:
        """Find out what should be now, once a second."""
        wall = self._clock()
        if int(wall) == self._second:
            return
        self._second = int(wall)
        if wall < CLOCK_IS_SET:
            self._stage.alarms.set("clock", "the clock of this machine is not set "
                                   f"({datetime.fromtimestamp(wall, UTC):%Y-%m-%d}); the show counts as open")
            self.is_open, self.period, self._change_at, self._known_until = True, None, None, 0.0
            return
        self._stage.alarms.set("clock", "")
        self.wall = self._steady.at(wall)
        self._find(self.wall)

    def _find(self, wall: float) -> None:
        period = self._times.period(wall)
        if not self._found_at <= wall < self._known_until or (period is not None) != self.is_open:
            self._change_at = self._times.next_change(wall)
            self._known_until = min(self._change_at or math.inf, wall + LOOK_SECONDS)
        self._found_at, self.is_open = wall, period is not None
        opens_at = None if period or self._change_at is None else self._change_at
        if opens_at is not None and opens_at - wall <= self._warm_up:
            period = self._times.period(opens_at)
        self.period = period

    def _log(self) -> None:
        log.info("opening hours: %s", self.describe())
