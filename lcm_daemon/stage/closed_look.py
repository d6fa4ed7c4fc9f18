"""ClosedLook: the cue that a closed show plays, and the look that comes back when it opens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.transports.source_table import OWN

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

ORIGIN = "opening hours"
SETTLE_SECONDS = 5.0  # from the end of the cue's fade, or of loading, to the picture that is held


class ClosedLook:
    """Puts a cue on, and back what it has changed: the cue before it, or else the values before it.

    A run that starts while the show is closed does not know them: then the values of the show's file come back.

    Args:
        stage: The show.
        name: The cue's name.
    """

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage, self._name = stage, name
        self._before: Cue | None = None
        self._is_on = self._is_current(stage.automation.cue_list.current)
        self._started_at = -math.inf
        self._renders_since: float | None = None  # nothing has loaded since then

    @property
    def is_on(self) -> bool:
        return self._is_on

    def put_on(self, now: float) -> None:
        """Start the cue at `now` (monotonic seconds), unless it is on."""
        self._started_at = now
        if self._is_on:  # the last run has put it on
            return
        current, cue = self._stage.automation.cue_list.current, self._cue()
        if cue is None:
            self._stage.alarms.set("closed", f"opening_hours.closed: the show has no cue {self._name!r}")
            return
        self._stage.alarms.set("closed", "")
        self._is_on = True
        self._before = current or self._present(cue)
        self._stage.automation.execute(CommandRequest("cue/goto", ORIGIN, (self._name,)), now)

    def take_off(self, now: float) -> None:
        """Put back what was on before the cue."""
        if not self._is_on:
            return
        stage, cue, before = self._stage, self._cue(), self._before
        self._is_on, self._before = False, None
        if before is not None and stage.automation.cue_list.named(before.name) is not None:
            stage.automation.execute(CommandRequest("cue/goto", ORIGIN, (before.name,)), now)
        elif before is not None:
            stage.desk.tell(stage.automation.put_on(before, now))
        elif cue is not None:
            stage.desk.tell(stage.automation.put_on(self._of_the_file(cue), now))

    def is_settled(self, now: float) -> bool:
        """Whether the cue's picture shows: nothing fades or loads."""
        cue, transition = self._cue(), self._stage.transition
        if not transition.leading.ready or transition.changing:
            self._renders_since = None
            return False
        if self._renders_since is None:
            self._renders_since = now
        faded_at = self._started_at + (cue.delay + cue.duration if cue else 0.0)
        return now - max(self._renders_since, faded_at) >= SETTLE_SECONDS

    def _cue(self) -> Cue | None:
        cues = self._stage.automation.cue_list
        return cues.named(cues.resolve(self._name))

    def _is_current(self, current: Cue | None) -> bool:
        cue = self._cue()
        return current is not None and cue is not None and current.name == cue.name

    def _present(self, cue: Cue) -> Cue:
        """What a cue is about to change, as it is now."""
        stage = self._stage
        return _opposite(cue, stage.parameters.targets(), stage.automation.recipe, stage.inputs.names())

    def _of_the_file(self, cue: Cue) -> Cue:
        """What a cue has changed, as the show's file has it."""
        stage = self._stage
        return _opposite(cue, stage.parameters.start, stage.show.recipe.name, {})


def _opposite(cue: Cue, values: Mapping[str, Value], recipe: str, sources: Mapping[str, str]) -> Cue:
    """A cue that sets all that another one sets to other values."""
    return Cue(
        ORIGIN, {name: values[name] for name in cue.values if name in values}, cue.fade, cue.curve, fades=cue.fades,
        recipe=recipe if cue.recipe else "", source=sources.get("source", OWN) if cue.source else "",
        guide=sources.get("guide", OWN) if cue.guide else "")
