"""PlaylistPlayer: plays the cues of a show's playlist, one after another, while the show is open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lcm_daemon.automation.opening_times import Playlist
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.stage.closed_look import ORIGIN
from lcm_daemon.stage.opening_hours import HoursKeeper

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

SLOT = "slot"  # key of what is kept over a restart


class PlaylistPlayer:
    """An attendant. The time says which cue should play; each is started once.

    A cue that a performer starts plays until the next one of the list is due, also over a restart.

    Args:
        stage: The show.
        playlist: The cues.
        hours: When it is open.
    """

    name = "the playlist"

    def __init__(self, stage: Stage, playlist: Playlist, hours: HoursKeeper) -> None:
        self._stage, self._playlist, self._hours = stage, playlist, hours
        # What was carried out last: start of the period, place in the list, cue. An earlier run has kept it.
        self._slot: list[object] | None = stage.automation.hours.get(SLOT)

    def step(self, now: float) -> None:
        period = self._hours.period
        if period is None or not (self._hours.is_open or self._hours.closed.is_hidden):
            return
        wall = max(self._hours.wall, period.start)  # before an opening, its first cue is put on where nothing shows
        cue = self._playlist.cue_at(wall, period)
        slot = [period.start, self._playlist.place_at(wall, period), cue]
        if slot != self._slot:
            is_first, self._slot = self._slot is None, slot
            self._stage.automation.keep_hours(SLOT, slot)
            self._play(cue, is_first, now)

    def status(self) -> Mapping[str, Value]:
        return {}

    def stop(self) -> None:
        """Nothing: the cue stays."""

    def _play(self, name: str, is_first: bool, now: float) -> None:
        cues = self._stage.automation.cue_list
        found = cues.named(cues.resolve(name))
        self._stage.alarms.set("playlist", "" if found else f"opening_hours.playlist: the show has no cue {name!r}")
        if found is None or (is_first and cues.current is not None and cues.current.name == found.name):
            return  # an earlier run of this show has started it
        log.info("playlist: cue %s", found.name)
        self._stage.automation.execute(CommandRequest("cue/goto", ORIGIN, (name,)), now)
