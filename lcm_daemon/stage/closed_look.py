"""ClosedLook: the cue that a closed show plays, and the look that comes back when it opens."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.core.live_values import FADE_CURVES
from lcm_daemon.core.parameters import Parameter, Refused, Value
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.stage.undo_move import HOURS
from lcm_daemon.transports.source_table import OWN

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

ORIGIN = HOURS
BEFORE = "before"  # key of what is kept over a restart
SETTLE_SECONDS = 5.0  # from the end of the cue's fade, or of loading, to the picture that is held


class ClosedLook:
    """Puts a cue on, and back what it has changed: the values before it, and the cue that was current.

    They are kept over a restart. Where they are not known, the values of the show's file come back. What was changed
    while the cue was on stays.

    Args:
        stage: The show.
        name: The cue's name.
    """

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage, self._name = stage, name
        closing, self._before = read_before(stage.automation.hours.get(BEFORE))  # closing: the cue of that closing
        self._is_on = closing == name or self._is_current(stage.automation.cue_list.current)
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
        before, found = self._before, self._present(cue, current.name if current else "")
        if before is not None:  # the show has had another closing cue, which is on
            found = replace(before, values={**found.values, **before.values})
        self._before = found
        self._stage.automation.keep_hours(BEFORE, saved_before(self._name, found))
        self._stage.automation.execute(CommandRequest("cue/goto", ORIGIN, (self._name,)), now)

    def take_off(self, now: float) -> None:
        """Put back what was on before the cue."""
        if not self._is_on:
            return
        automation, cue, before = self._stage.automation, self._cue(), self._before
        self._is_on, self._before = False, None
        automation.keep_hours(BEFORE, None)
        cues = automation.cue_list
        current = cues.current
        if cue is None:
            return
        before = before or self._of_the_file(cue)
        following = before.name if self._is_current(current) else current.name if current else ""
        self._stage.desk.tell(automation.put_on(self._without_newer(before, cue, current), now))
        if following and cues.named(following) is not None:
            cues.restore(following, now, cues.schedule.done)

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

    def _present(self, cue: Cue, name: str) -> Cue:
        """What a cue is about to change, as it is now. name: Of the current cue, "" for none."""
        stage, table = self._stage, self._stage.parameters.table
        found = _opposite(cue, stage.parameters.targets(), stage.automation.recipe, stage.inputs.names())
        own = stage.parameters.touched() if cue.recipe else {}  # another recipe may have other parameters
        return replace(found, name=name, values={**{key: own[key] for key in own if table[key].look}, **found.values})

    def _without_newer(self, before: Cue, cue: Cue, current: Cue | None) -> Cue:
        """What was before `cue`, less what was changed while it was on."""
        table, targets = self._stage.parameters.table, self._stage.parameters.targets()
        values = {name: value for name, value in before.values.items() if name not in cue.values or name not in table
                  or name == "seed" or targets[name] == _coerced(table[name], cue.values[name])}
        if current is None or self._is_current(current):
            return replace(before, name=ORIGIN, values=values)
        return replace(
            before, name=ORIGIN, values={name: value for name, value in values.items() if name not in current.values},
            recipe="" if current.recipe else before.recipe, source="" if current.source else before.source,
            guide="" if current.guide else before.guide)

    def _of_the_file(self, cue: Cue) -> Cue:
        """What a cue has changed, as the show's file has it."""
        stage = self._stage
        return _opposite(cue, stage.parameters.start, stage.show.recipe.name, {})


def _opposite(cue: Cue, values: Mapping[str, Value], recipe: str, sources: Mapping[str, str]) -> Cue:
    """A cue that sets all that another one sets to other values."""
    return Cue(
        "", {name: values[name] for name in cue.values if name in values}, cue.fade, cue.curve, fades=cue.fades,
        recipe=recipe if cue.recipe else "", source=sources.get("source", OWN) if cue.source else "",
        guide=sources.get("guide", OWN) if cue.guide else "")


def _coerced(parameter: Parameter, value: Value) -> Value:
    with contextlib.suppress(Refused):  # a recorded cue is not checked
        return parameter.coerce(value)
    return value


def saved_before(closing: str, before: Cue) -> dict[str, Any]:
    """What the closing cue of this name is to be replaced by at the opening, as `read_before` reads it."""
    return {"closing": closing, "cue": before.name, "values": dict(before.values), "fade": before.fade,
            "curve": before.curve, "fades": dict(before.fades), "recipe": before.recipe, "source": before.source,
            "guide": before.guide}


def read_before(found: Any) -> tuple[str, Cue | None]:
    """Read what `saved_before` has made: the closing cue's name, and what was before it; "" and None if it is not."""
    if not isinstance(found, dict):
        return "", None
    texts = [found.get(name) for name in ("closing", "cue", "curve", "recipe", "source", "guide")]
    values, fades, fade = found.get("values"), found.get("fades"), found.get("fade")
    if not (all(isinstance(text, str) for text in texts) and isinstance(values, dict) and isinstance(fades, dict)
            and isinstance(fade, int | float) and all(isinstance(each, int | float) for each in fades.values())):
        return "", None
    closing, name, curve, recipe, source, guide = map(str, texts)
    if curve not in FADE_CURVES:
        return "", None
    return closing, Cue(name, values, float(fade), curve, fades=fades, recipe=recipe, source=source, guide=guide)
