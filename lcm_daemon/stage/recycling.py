"""Recycling: replaces the engines and the desk by new processes once a day, without a gap in the picture."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING

from lcm_daemon.automation.daily_schedule import DailySchedule
from lcm_daemon.core.parameters import Value

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)


class Recycling:
    """An attendant. First the engines are replaced, each beside the one that renders, then the desk.

    What is due while a recipe changes waits. A show that starts after the time of day has new processes: it waits for
    the next day.

    Args:
        stage: The show.
        at: Time of day, as "04:00".
        zone: The zone that it is of; None for the machine's.
        wall: Returns the time of the wall clock, in seconds since 1970.
    """

    name = "recycling"

    def __init__(self, stage: Stage, at: str, zone: tzinfo | None, wall: Callable[[], float] = time.time) -> None:
        self._stage, self._times, self._clock = stage, [("recycle", at)], wall
        self._schedule, self._second = DailySchedule(zone), -1
        self._schedule.restore(0.0)
        self._engines_wait = self._desk_waits = False

    def step(self, now: float) -> None:
        wall = self._clock()
        if int(wall) != self._second:
            self._second = int(wall)
            if self._schedule.due(wall, self._times):
                log.info("recycling: the engines and the desk are replaced by new processes")
                self._engines_wait = self._desk_waits = True
        if self._engines_wait or self._desk_waits:
            self._recycle(now)

    def status(self) -> Mapping[str, Value]:
        return {}

    def stop(self) -> None:
        """Nothing: what has begun is part of the engines and the desk."""

    def _recycle(self, now: float) -> None:
        engines, transition = self._stage.engines, self._stage.transition
        if not self._engines_wait and not engines.renewal.busy:
            self._stage.desk.recycle(now)
            self._desk_waits = False
        elif transition.unloaded:
            self._engines_wait = False  # those that are loaded next are new
        elif self._engines_wait and not transition.changing:
            engines.recycle(now)
            self._engines_wait = False
