"""Crossfader: a fader that goes by hand from the current look to the next cue, as on a lighting desk.

The fader rests at both ends. Moved away from one end, it blends the look of that moment with the next cue; at the other
end that cue is the current one. The next crossfade then goes the other way, so that a fader never has to jump.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.core.live_values import Blend, Parameters
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.requests import Change

POSITION = "cue/crossfade"  # the parameter that holds the fader's position, 0 to 1
AT_END = 1 / 256  # a fader is at an end from here on: some end at 0.999


@dataclass
class _Crossfade:
    """A crossfade under way.

    Attributes:
        cue: the cue that it goes to.
        begun_at: the end of the fader that it began at, 0 or 1.
        values: value at its start of each parameter that it moves.
        moved: names of the parameters that it has moved.
        taken: names of the parameters that a hand has moved since; they are left alone.
    """

    cue: Cue
    begun_at: float
    values: dict[str, Value | Blend]
    moved: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)


class Crossfader:
    """The fader and the crossfade that it has begun.

    Args:
        parameters: the live values.
        next_cue: returns the cue that a crossfade goes to, or None at the end of the list.
        start_cue: makes a cue the current one and returns the parameters that moved.
    """

    def __init__(
        self, parameters: Parameters, next_cue: Callable[[], Cue | None],
        start_cue: Callable[[Cue, float], list[Change]],
    ) -> None:
        self._parameters, self._next_cue, self._start_cue = parameters, next_cue, start_cue
        self._position: float | None = None  # where the fader was last
        self._rests_at: float | None = None  # the end that it was at last; None if it left that without a crossfade
        self._crossfade: _Crossfade | None = None

    @property
    def cue(self) -> str:
        """Name of the cue that a crossfade goes to, or an empty string."""
        return self._crossfade.cue.name if self._crossfade else ""

    @property
    def progress(self) -> float:
        """Progress of the crossfade, 0 to 1; 1 if there is none."""
        crossfade, position = self._crossfade, self._position
        return 1.0 if crossfade is None or position is None else abs(position - crossfade.begun_at)

    def end(self) -> None:
        """End a crossfade where it is. The next one begins once the fader has been at an end."""
        if self._crossfade is not None:
            self._crossfade = self._rests_at = None

    def rest(self, now: float) -> None:
        """Take the fader where it is, without a crossfade."""
        self._crossfade, self._position = None, float(self._parameters.at(POSITION, now))
        self._rests_at = _end_of_fader(self._position)

    def update(self, now: float) -> list[Change]:
        """Follow the fader. Return the parameters that moved."""
        if self._position is None:
            self.rest(now)
        position = float(self._parameters.at(POSITION, now))
        if position == self._position:
            return []
        self._position, end = position, _end_of_fader(position)
        if self._crossfade is None and self._rests_at is not None and end != self._rests_at:
            self._crossfade = self._begin(self._rests_at, now)
        crossfade = self._crossfade
        if crossfade is None or end is not None:
            self._crossfade, self._rests_at = None, end
        if crossfade is None:
            return []
        if end is None or end == crossfade.begun_at:
            return self._move(crossfade, 0.0 if end == crossfade.begun_at else abs(position - crossfade.begun_at), now)
        self._find_taken(crossfade)
        values = {name: value for name, value in crossfade.cue.values.items() if name not in crossfade.taken}
        return self._start_cue(replace(crossfade.cue, values=values, fade=0.0, fades={}), now)

    def _begin(self, begun_at: float, now: float) -> _Crossfade | None:
        cue = self._next_cue()
        if cue is None:
            return None
        names = [name for name in cue.values if name in self._parameters.table and name != POSITION]
        table = self._parameters.table
        drawn = {name: table[name].drawn(value) if name in names else value for name, value in cue.values.items()}
        values = {name: self._parameters.at(name, now) for name in names}
        return _Crossfade(replace(cue, values=drawn), begun_at, values)

    def _move(self, crossfade: _Crossfade, share: float, now: float) -> list[Change]:
        """Put every parameter at `share` of its way."""
        self._find_taken(crossfade)
        origin, before, changes = f"cue/{crossfade.cue.name}", self._parameters.targets(), list[Change]()
        for name, start in crossfade.values.items():
            if name in crossfade.taken:
                continue
            try:
                value = self._parameters.hold(name, start, crossfade.cue.values[name], share, now, origin)
            except Refused:  # a value of a recorded cue; it is reported when the cue starts
                continue
            crossfade.moved.add(name)
            if value != before[name]:
                changes.append(Change(name, value, origin))
        return changes

    def _find_taken(self, crossfade: _Crossfade) -> None:
        table, origin = self._parameters.table, f"cue/{crossfade.cue.name}"
        crossfade.taken |= {name for name in crossfade.moved
                            if name not in table or self._parameters.origin(name) != origin}
        crossfade.taken |= crossfade.values.keys() - table.keys()


def _end_of_fader(position: float) -> float | None:
    """Return the end that a fader is at, or None between the ends."""
    if position <= AT_END:
        return 0.0
    return 1.0 if position >= 1.0 - AT_END else None
