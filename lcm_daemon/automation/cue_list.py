"""Cues: looks in a row, each with its fade. GO, BACK, GOTO, release; one may follow another by itself.

A cue sets parameters through `Parameters.set`, with its own fade: whoever moves a fader meanwhile has it, for the
newest move of a parameter counts. A cue's own delay and what follows it are kept here, on the show's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lcm_daemon.core.parameters import Value


@dataclass(frozen=True)
class Cue:
    """One look. A parameter that it does not name stays as it is.

    fade: seconds; numbers, prompts and seeds travel, everything else changes when the fade begins.
    curve: of parameters.CURVES.   delay: seconds from GO to the fade.   follow: seconds from the end of the fade to
    the next GO, None where it waits for somebody.   recipe: to change to.   at: "21:30", every day on the wall clock.
    """

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)
    fade: float = 0.0
    curve: str = "linear"
    delay: float = 0.0
    follow: float | None = None
    recipe: str = ""
    at: str = ""


LONGEST_SLEEP = 12 * 60  # minutes that a machine may sleep; a clock that seems to jump further has been set back


def _minutes(earlier: str, later: str) -> int:
    """From one time of day to the next time that it is the other."""
    (hour, minute), (hours, minutes) = (map(int, text.split(":")) for text in (earlier, later))
    return ((hours - hour) * 60 + minutes - minute) % (24 * 60)


def _place_of(text: str) -> int:
    """The place that a number counts to, from 1; -1 where the text is none. Buttons and faders send floats."""
    try:
        return int(float(text)) - 1
    except (ValueError, OverflowError):
        return -1


class CueList:
    """Where a show is in its cues. Whoever asks gets the cue whose fade begins now."""

    def __init__(self, cues: Sequence[Cue]) -> None:
        self.cues = list(cues)
        self.current: Cue | None = None
        self._due: tuple[float, Cue] | None = None  # asked for, waiting for its delay; another GO takes its place
        self._next: float | None = None  # when the current one is followed
        self._resumed = False
        self.minute = ""  # the last one in which the schedule was looked at, "21:30"

    @property
    def pending(self) -> str:
        """The cue that waits to begin; "" if none does."""
        return self._due[1].name if self._due else ""

    def beside(self, step: int) -> str:
        """The name of the cue so many places after the newest; "" beyond the ends."""
        return self._name_at(self._place() + step)

    def called(self, name: str) -> str:
        """The name of the cue that GOTO would ask for; "" where there is none."""
        return self._name_at(self._find(name))

    def go(self, now: float) -> Cue | None:
        """Ask for the one after the newest; None behind the last."""
        return self._ask(self._place() + 1, now)

    def back(self, now: float) -> Cue | None:
        """Ask for the one before; None before the first."""
        return self._ask(self._place() - 1, now)

    def goto(self, name: str, now: float) -> Cue | None:
        """Ask for one by its name, or by its place: "1" is the first. None where there is none."""
        return self._ask(self._find(name), now)

    def resume(self, name: str, now: float, minute: str = "") -> None:
        """Stand at a cue that an earlier run had begun; what follows it does so again.

        minute: when that was; what fell due by the schedule since then begins at the next step.
        """
        self.current = next((cue for cue in self.cues if cue.name == name), None)
        self._follow(now)
        self.minute, self._resumed = minute, True

    def release(self) -> None:
        """Forget where the show was: nothing follows, and the next GO is the first cue."""
        self.current, self._due, self._next = None, None, None

    def hold(self) -> None:
        """Whatever was about to come by itself does not."""
        self._due, self._next = None, None

    def record(self, cue: Cue) -> None:
        """Put a cue at the end, or in the place of the one of its name."""
        names = [one.name for one in self.cues]
        if cue.name in names:
            self.cues[names.index(cue.name)] = cue
        else:
            self.cues.append(cue)

    def step(self, now: float, clock: str = "") -> Cue | None:
        """The cue that begins now. clock: the wall clock's "21:30", for those with a time."""
        if clock and clock != self.minute:
            self._look_at_the_clock(clock, now)
        if self._next is not None and now >= self._next:
            self.go(now)
        if self._due is None or now < self._due[0]:
            return None
        self.current, self._due = self._due[1], None
        self._follow(now)
        return self.current

    def _follow(self, now: float) -> None:
        cue = self.current
        self._next = None if cue is None or cue.follow is None else now + cue.fade + cue.follow

    def _look_at_the_clock(self, clock: str, now: float) -> None:
        """Ask for the newest cue that fell due since the last look: the machine may have slept, or been off."""
        gap = _minutes(self.minute, clock) if self.minute else 1
        if gap > LONGEST_SLEEP and not self._resumed:  # the clock has been set back, as in autumn
            gap = 1
        self.minute, self._resumed = clock, False
        ages = [(_minutes(cue.at, clock), -place) for place, cue in enumerate(self.cues) if cue.at]
        age, place = min(ages, default=(gap, 0))
        if age < gap:
            self._ask(-place, now)

    def _find(self, name: str) -> int:
        """The place of the cue of that name, or where it is a number, that place."""
        names = [cue.name for cue in self.cues]
        return names.index(name) if name in names else _place_of(name)

    def _name_at(self, place: int) -> str:
        return self.cues[place].name if 0 <= place < len(self.cues) else ""

    def _place(self) -> int:
        """Of the newest cue, begun or not; -1 before the first."""
        newest = self._due[1] if self._due else self.current
        names = [cue.name for cue in self.cues]  # by name: it may have been recorded anew meanwhile
        return names.index(newest.name) if newest and newest.name in names else -1

    def _ask(self, place: int, now: float) -> Cue | None:
        if not 0 <= place < len(self.cues):
            return None
        self._due, self._next = (now + self.cues[place].delay, self.cues[place]), None
        return self.cues[place]
