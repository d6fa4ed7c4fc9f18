"""The attendants of a show's section `care`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lcm_daemon.automation.opening_times import OpeningTimes
from lcm_daemon.shows.care import Care, Night
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.burn_in import BurnIn, NightLevel
from lcm_daemon.stage.disk_watch import MIB, DiskWatch, written_folders
from lcm_daemon.stage.gpu_watch import GpuWatch
from lcm_daemon.stage.output_watch import OutputWatch

if TYPE_CHECKING:
    from lcm_daemon.stage.attendants import Attendant
    from lcm_daemon.stage.stage import Stage


def care_attendants(stage: Stage, care: Care) -> list[Attendant]:
    """What watches a show, and what spares its display."""
    show = stage.show
    burn_in = BurnIn(show.size, care.orbit, _night_level(care.night, show) if care.night else None)
    if care.orbit or care.night:
        stage.picture.last_steps.append(burn_in.apply)
    found: list[Attendant] = [OutputWatch(stage, care, burn_in)]
    if care.disk_free is not None:
        found.append(DiskWatch(written_folders(show), int(care.disk_free * MIB), stage.alarms))
    if care.gpu_temperature is not None or care.gpu_memory is not None:
        found.append(GpuWatch(care.gpu_temperature, care.gpu_memory, stage.alarms))
    return found


def _night_level(night: Night, show: Show) -> NightLevel:
    hours = show.unattended.opening_hours
    return NightLevel(night, OpeningTimes((night.times,), zone=hours.times.zone if hours else None), time.time)
