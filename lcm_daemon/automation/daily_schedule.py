"""DailySchedule: which cue the time of day asks for.

It asks for a state, not for moments: the cue whose time came last should be on, whether the daemon was running then or
not. So a machine that is switched on in the morning, wakes from sleep, or has its clock set, gets the right cue. Each
time of each day is carried out once: times are kept as seconds since 1970, which neither the end of summer time nor a
change of the zone repeats.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo

log = logging.getLogger(__name__)

CLOCK_IS_SET = datetime(2025, 1, 1, tzinfo=UTC).timestamp()  # a machine without a clock battery starts in 1970
STEP_BACK = 3600.0  # seconds by which the clock may be set back without that anything is done again

Times = Sequence[tuple[str, str]]  # name and time of day ("21:30") of each cue that has one, in the order of the list


class DailySchedule:
    """Which cue should start now.

    Args:
        zone: The zone that times of day are of; None for the machine's.

    Attributes:
        zone: The same.
        done: When the time came that was carried out last, in seconds since 1970; 0 before the first.
    """

    def __init__(self, zone: tzinfo | None = None) -> None:
        self.zone = zone
        self.done = 0.0
        self._times: Times | None = None
        self._is_told = False

    def restore(self, done: float) -> None:
        """Continue where an earlier run was. done: Its `done`; with 0, what is due already is not carried out."""
        self.done = done or -1.0

    def due(self, wall: float, times: Times) -> str:
        """Return the name of the cue that starts now; "" if none does.

        Args:
            wall: Seconds since 1970.
            times: The present ones. Where they have changed, only times to come are carried out.
        """
        changed, self._times = self._times is not None and self._times != times, times
        if not times or not self._clock_is_set(wall):
            return ""
        ages = [(self._last(wall, time_of_day), index) for index, (_, time_of_day) in enumerate(times)]
        at, index = max(ages)  # of two cues at one time, the later one of the list
        if self.done < 0 or changed:
            self.done = at
        if at == self.done or 0.0 < self.done - wall < STEP_BACK:
            return ""
        self.done = at
        return times[index][0]

    def _clock_is_set(self, wall: float) -> bool:
        if wall >= CLOCK_IS_SET:
            self._is_told = False
            return True
        if not self._is_told:
            self._is_told = True
            log.warning("the clock of this machine is not set (%s); cues with a time of day wait until it is",
                        datetime.fromtimestamp(wall, UTC).date())
        return False

    def _last(self, wall: float, time_of_day: str) -> float:
        """When a time of day came last, in seconds since 1970.

        A time that summer time leaves out comes an hour later; of one that comes twice, the first counts.
        """
        hour, minute = map(int, time_of_day.split(":"))
        today = datetime.fromtimestamp(wall, self.zone).date()
        found = (datetime.combine(today - timedelta(days=days), time(hour, minute), self.zone).timestamp()
                 for days in range(3))
        return next(seconds for seconds in found if seconds <= wall)
