"""The attendants of a show with the section `opening_hours`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lcm_daemon.shows.opening_hours import OpeningHours
from lcm_daemon.stage.hours_commands import HoursCommands
from lcm_daemon.stage.opening_hours import HoursKeeper
from lcm_daemon.stage.playlist import PlaylistPlayer
from lcm_daemon.stage.recycling import Recycling

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage


def hours_attendants(
    stage: Stage, hours: OpeningHours, wall: Callable[[], float] = time.time
) -> Sequence[HoursKeeper | PlaylistPlayer | Recycling | HoursCommands]:
    """What opens and closes a show, plays its playlist, renews its processes and switches its displays.

    Args:
        stage: The show.
        hours: Its section.
        wall: Returns the time of the wall clock, in seconds since 1970.
    """
    keeper = HoursKeeper(stage, hours, wall)
    playlist = [PlaylistPlayer(stage, hours.playlist, keeper)] if hours.playlist else []
    recycling = [Recycling(stage, hours.recycle, hours.times.zone, wall)] if hours.recycle else []
    commands = [HoursCommands(stage, hours, keeper)] if hours.open_command or hours.close_command else []
    return [keeper, *playlist, *recycling, *commands]
