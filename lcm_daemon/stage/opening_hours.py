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
from typing import TYPE_CHECKING, Any, NamedTuple

from lcm_daemon.automation.daily_schedule import CLOCK_IS_SET, STEP_BACK
from lcm_daemon.automation.opening_times import Period, SteadyTime
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.shows.opening_hours import OpeningHours
from lcm_daemon.stage.closed_show import ClosedShow

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

BY_HAND = "by_hand"  # key of what is kept over a restart
LOOK_SECONDS = 86_400.0  # after which the next change is looked for again; it takes a millisecond


class _ByHand(NamedTuple):
    """What a person has asked for, from one time to another; end: None for no end."""

    is_open: bool
    start: float
    end: float | None

    def holds_at(self, wall: float) -> bool:
        """Whether it holds. A clock that is set back by less than `STEP_BACK` does not end it."""
        return self.start - STEP_BACK <= wall < (math.inf if self.end is None else self.end)


def _read_by_hand(found: Any) -> _ByHand | None:
    """Read what an earlier run has kept; None if it is something else."""
    if not isinstance(found, list) or len(found) != 3:
        return None
    is_open, start, end = found
    numbers = [start] if end is None else [start, end]
    if not isinstance(is_open, bool) or not all(isinstance(one, int | float) for one in numbers):
        return None
    return _ByHand(is_open, float(start), None if end is None else float(end))


class HoursKeeper:
    """An attendant. Times of the wall clock are seconds since 1970.

    Args:
        stage: The show.
        hours: Its section `opening_hours`.
        wall: Returns the time of the wall clock.

    Attributes:
        is_open: Whether the show is to be open.
        period: The period in which it is open now, or which begins soon; None otherwise.
        wall: The time that this was found at.
        closed: What happens while it is closed.
    """

    name = "the opening hours"

    def __init__(self, stage: Stage, hours: OpeningHours, wall: Callable[[], float] = time.time) -> None:
        self._stage, self._times, self._warm_up, self._clock = stage, hours.times, hours.warm_up, wall
        self._steady, self._second = SteadyTime(), -1
        self._found_at = self._known_until = 0.0
        self._change_at: float | None = None  # when it opens or closes next; None if not within weeks
        self._planned: Period | None = None  # in which it is open by its hours
        self._by_hand = _read_by_hand(stage.automation.hours.get(BY_HAND))
        self.is_open, self.wall = True, 0.0
        self.period: Period | None = None
        if hours.times.zone is not None:
            stage.automation.cue_list.schedule.zone = hours.times.zone
        self._look()
        self._log()
        self.closed = ClosedShow(stage, hours, self.is_open)
        stage.dispatch.open_or_close = self._execute

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
        word = ("open" if self.is_open else "closed") + (" by hand" if self._by_hand else "")
        until = self._by_hand.end if self._by_hand else self._change_at
        if until is None:
            return word
        return f"{word} until {datetime.fromtimestamp(until, self._times.zone):%a %d %b %H:%M}"

    def _execute(self, request: CommandRequest) -> str:
        """Open or close by hand; return why it cannot."""
        if self.wall < CLOCK_IS_SET:
            return "the clock of this machine is not set"
        self._keep_by_hand(None)
        if request.name != "hours/auto":
            given = [float(hours) for hours in request.arguments]
            end = self.wall + 3600.0 * given[0] if given else self._times.next_change(self.wall)
            self._keep_by_hand(_ByHand(request.name == "hours/open", self.wall, end))
        self._find(self.wall)
        log.info("opening hours: %s, by %s", self.describe(), request.origin)
        return ""

    def _keep_by_hand(self, by_hand: _ByHand | None) -> None:
        """Keep it over a restart."""
        self._by_hand = by_hand
        self._stage.automation.keep_hours(BY_HAND, None if by_hand is None else list(by_hand))

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
        if not self._found_at <= wall < self._known_until:
            self._planned, self._change_at = self._times.period(wall), self._times.next_change(wall)
            ends = [end for end in (self._change_at, self._planned and self._planned.end) if end is not None]
            self._known_until = min(*ends, wall + LOOK_SECONDS) if ends else wall + LOOK_SECONDS
        self._found_at, hand, period = wall, self._by_hand, self._planned
        if hand is not None and hand.end is None and self._change_at is not None:
            self._keep_by_hand(hand := hand._replace(end=self._change_at))  # it was more than `HORIZON` days away
        if hand is not None and not hand.holds_at(wall):
            self._keep_by_hand(hand := None)
        self.is_open = period is not None if hand is None else hand.is_open
        opens_at = hand.end if hand else self._change_at
        if self.is_open:
            self.period = period or Period(hand.start if hand else wall, math.inf)
        else:
            is_near = opens_at is not None and opens_at - wall <= self._warm_up
            self.period = self._times.period(opens_at) if is_near and opens_at is not None else None

    def _log(self) -> None:
        log.info("opening hours: %s", self.describe())
