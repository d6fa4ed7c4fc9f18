"""The cue list of a show: GO, BACK, GOTO and release, delays, automatic follow, and cues that start at a time of day.

The list decides when a cue starts. `Automation` then fades the parameters. If a controller moves a parameter during a
fade, the controller wins, because the newest move of a parameter counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lcm_daemon.core.parameters import Value


@dataclass(frozen=True)
class Cue:
    """A named set of values. A parameter that the cue does not name keeps its value.

    Attributes:
        name: what GOTO calls the cue.
        values: target value by parameter name.
        fade: seconds. Numbers, prompts and seeds fade; everything else changes when the fade starts.
        curve: a name in `FADE_CURVES`.
        delay: seconds from GO to the start of the fade.
        follow: seconds from the end of the fade to an automatic GO, or None.
        recipe: name of the recipe to change to, or an empty string.
        source: name of the source to change to, or an empty string; guide: the same for the guide.
        at: time of day at which the cue starts every day, as "21:30", or an empty string.
    """

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)
    fade: float = 0.0
    curve: str = "linear"
    delay: float = 0.0
    follow: float | None = None
    recipe: str = ""
    source: str = ""
    guide: str = ""
    at: str = ""


MAX_SLEEP = 12 * 60  # minutes that a machine may have slept; a larger step of the clock means it was set back


def _minutes_between(earlier: str, later: str) -> int:
    """Return the minutes from one time of day to the next occurrence of another."""
    (hour, minute), (hours, minutes) = (map(int, text.split(":")) for text in (earlier, later))
    return ((hours - hour) * 60 + minutes - minute) % (24 * 60)


def _index_of_number(text: str) -> int:
    """Return the index for a number that counts from 1, or -1. Buttons and faders send numbers as floats."""
    try:
        return int(float(text)) - 1
    except (ValueError, OverflowError):
        return -1


class CueList:
    """The cues in order, and the position of the show among them. `update` returns each cue when its fade starts."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self.cues = list(cues)
        self.current: Cue | None = None  # the cue that is shown as active
        self.minute = ""  # the time of day of the last schedule check, as "21:30"
        self._last: Cue | None = None  # the last cue that started; GO and BACK count from here. PANIC keeps it
        self._requested: tuple[float, Cue] | None = None  # start time and cue; a newer request replaces it
        self._follow_time: float | None = None  # when the automatic GO is due
        self._restored = False

    @property
    def pending(self) -> str:
        """Name of the cue that waits for its delay, or an empty string."""
        return self._requested[1].name if self._requested else ""

    def name_at_offset(self, offset: int) -> str:
        """Return the name of the cue `offset` places after the newest one, or an empty string beyond the ends."""
        return self._name_at(self._position() + offset)

    def resolve(self, name: str) -> str:
        """Return the name of the cue that GOTO would request, or an empty string."""
        return self._name_at(self._find(name))

    def go(self, now: float) -> Cue | None:
        """Request the cue after the newest one. Return None after the last."""
        return self._request(self._position() + 1, now)

    def back(self, now: float) -> Cue | None:
        """Request the cue before the newest one. Return None before the first."""
        return self._request(self._position() - 1, now)

    def goto(self, name: str, now: float) -> Cue | None:
        """Request a cue by its name or its number ("1" is the first). Return None if none matches."""
        return self._request(self._find(name), now)

    def restore(self, name: str, now: float, minute: str = "") -> None:
        """Continue at a cue that an earlier run had started. Its automatic follow is timed from now.

        minute: time of day of that run's last schedule check. A cue that fell due since then starts at the next update.
        """
        self.current = self._last = next((cue for cue in self.cues if cue.name == name), None)
        self._schedule_follow(now)
        self.minute, self._restored = minute, True

    def release(self) -> None:
        """Leave the cue list: no cue is current, nothing follows, and the next GO starts the first cue."""
        self.current, self._last, self._requested, self._follow_time = None, None, None, None

    def panic(self) -> None:
        """Cancel what waits, and show no cue as current, because its look is gone.

        GO and BACK still count from the last cue that started: after PANIC, GO starts the cue after that one.
        """
        self.current, self._requested, self._follow_time = None, None, None

    def record(self, cue: Cue) -> None:
        """Append a cue, or replace the cue of the same name."""
        names = [one.name for one in self.cues]
        if cue.name in names:
            self.cues[names.index(cue.name)] = cue
        else:
            self.cues.append(cue)

    def update(self, now: float, time_of_day: str = "") -> Cue | None:
        """Return the cue that starts now, if one does. time_of_day: the wall clock as "21:30"."""
        if time_of_day and time_of_day != self.minute:
            self._check_schedule(time_of_day, now)
        if self._follow_time is not None and now >= self._follow_time:
            self._follow_time = None  # also after the last cue: one that is recorded later must not start by itself
            self.go(now)
        if self._requested is None or now < self._requested[0]:
            return None
        self.current = self._last = self._requested[1]
        self._requested = None
        self._schedule_follow(now)
        return self.current

    def _schedule_follow(self, now: float) -> None:
        cue = self.current
        self._follow_time = None if cue is None or cue.follow is None else now + cue.fade + cue.follow

    def _check_schedule(self, time_of_day: str, now: float) -> None:
        """Request the newest cue that fell due since the last check: the machine may have slept or been off."""
        gap = _minutes_between(self.minute, time_of_day) if self.minute else 1
        if gap > MAX_SLEEP and not self._restored:  # the clock was set back, as at the end of summer time
            gap = 1
        self.minute, self._restored = time_of_day, False
        ages = [(_minutes_between(cue.at, time_of_day), -index) for index, cue in enumerate(self.cues) if cue.at]
        age, index = min(ages, default=(gap, 0))
        if age < gap:
            self._request(-index, now)

    def _find(self, name: str) -> int:
        """Return the index of the cue with this name, otherwise the index that the name gives as a number."""
        names = [cue.name for cue in self.cues]
        return names.index(name) if name in names else _index_of_number(name)

    def _name_at(self, index: int) -> str:
        return self.cues[index].name if 0 <= index < len(self.cues) else ""

    def _position(self) -> int:
        """Return the index of the newest cue, requested or started; -1 before the first."""
        newest = self._requested[1] if self._requested else self._last
        names = [cue.name for cue in self.cues]  # by name, because the cue may have been recorded again
        return names.index(newest.name) if newest and newest.name in names else -1

    def _request(self, index: int, now: float) -> Cue | None:
        if not 0 <= index < len(self.cues):
            return None
        self._requested, self._follow_time = (now + self.cues[index].delay, self.cues[index]), None
        return self.cues[index]
