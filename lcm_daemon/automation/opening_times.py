"""Opening times: whether a show is open at a moment, since when, and until when.

Whether it is open follows from the time alone, not from moments that must not be missed: a machine that is switched on
in the middle of a day, wakes from sleep, or has its clock set, is right at once. Times of day are those of a zone. One
that summer time leaves out comes an hour later; of one that comes twice, the first counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

DAY = 24 * 60  # minutes
HOLD_BACK = 60.0  # seconds by which the clock may be set back without that it is open or closed again
HORIZON = 32  # days in which the next change is looked for
EARLIEST = datetime(1970, 1, 10, tzinfo=UTC).timestamp()  # Windows has no local time before 1970
LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()  # Python's dates end with the year 9999

MonthDay = tuple[int, int]


@dataclass(frozen=True)
class Days:
    """A set of days.

    Attributes:
        weekdays: 0 for Monday to 6 for Sunday.
        dates: First and last day of ranges.
        yearly: First and last day of ranges of each year, as month and day; one may cross the end of the year.
    """

    weekdays: frozenset[int] = frozenset()
    dates: tuple[tuple[date, date], ...] = ()
    yearly: tuple[tuple[MonthDay, MonthDay], ...] = ()

    def contain(self, day: date) -> bool:
        return day.weekday() in self.weekdays or self.name(day)

    def name(self, day: date) -> bool:
        """Whether it contains the day by its date, not by its weekday."""
        of_year = day.month, day.day
        return any(first <= day <= last for first, last in self.dates) or any(
            first <= of_year <= last if first <= last else of_year >= first or of_year <= last
            for first, last in self.yearly)


EVERY_DAY = Days(frozenset(range(7)))


@dataclass(frozen=True)
class Opening:
    """Open on these days, from one time of the day to another.

    Attributes:
        days: The days on which it opens.
        start: Minutes since midnight.
        end: The same; more than a day if it closes on the next one.
        during: The part of the year or the dates to which this is limited; None for no limit.
    """

    days: Days = EVERY_DAY
    start: int = 0
    end: int = DAY
    during: Days | None = None


class Period(NamedTuple):
    """From one time to another, in seconds since 1970, without the end."""

    start: float
    end: float


@dataclass(frozen=True)
class OpeningTimes:
    """When a show is open.

    An opening that names a day by its date replaces those that name it by its weekday, also on a day that is closed.
    An opening that lasts past midnight belongs to the day on which it begins.

    Attributes:
        openings: When it is open; none is every day, all day.
        closed_on: Days on which it does not open.
        zone: The zone that times of day are of; None for the machine's.
    """

    openings: Sequence[Opening] = (Opening(),)
    closed_on: Days = field(default_factory=Days)
    zone: tzinfo | None = None

    def period(self, wall: float) -> Period | None:
        """The period around `wall` (seconds since 1970) in which it is open; None if it is closed then.

        Of two of different days that overlap, the one that began first.
        """
        today = self.day_of(wall)
        found = (period for days in range(-2, 2) for period in self.periods_of(today + timedelta(days=days)))
        return next((period for period in found if period.start <= wall < period.end), None)

    def is_open(self, wall: float) -> bool:
        return self.period(wall) is not None

    def next_change(self, wall: float) -> float | None:
        """When it closes or opens next after `wall`; None if that is not within `HORIZON` days."""
        if self.is_always:
            return None
        today, end = self.day_of(wall), 0.0  # of the period around `wall`; 0 if it is closed then
        for day in (today + timedelta(days=days) for days in range(-2, HORIZON)):
            for period in self.periods_of(day):
                if period.end <= wall:
                    continue
                if not end and period.start > wall:
                    return period.start
                if end and period.start > end:
                    return end
                end = max(end, period.end)
            if end and end < self.seconds(day, DAY):  # those of later days begin later
                return end
        return None

    @property
    def is_always(self) -> bool:
        """Whether it never closes, since nothing says when."""
        return tuple(self.openings) == (Opening(),) and self.closed_on == Days()

    def periods_of(self, day: date) -> list[Period]:
        """The periods that begin on a day, in their order. Those that overlap or touch are one."""
        valid = [opening for opening in self.openings if opening.during is None or opening.during.contain(day)]
        chosen = [opening for opening in valid if opening.days.name(day)]
        if not chosen and not self.closed_on.contain(day):
            chosen = [opening for opening in valid if opening.days.contain(day)]
        return _merged(Period(self.seconds(day, each.start), self.seconds(day, each.end)) for each in chosen)

    def day_of(self, wall: float) -> date:
        """The day of a time in seconds since 1970, in the zone."""
        return datetime.fromtimestamp(min(max(wall, EARLIEST), LATEST), self.zone).date()

    def seconds(self, day: date, minutes: int) -> float:
        """A time of a day, in minutes since its midnight, as seconds since 1970."""
        return datetime.combine(day + timedelta(days=minutes // DAY), time(*divmod(minutes % DAY, 60)),
                                self.zone).timestamp()


def _merged(periods: Iterable[Period]) -> list[Period]:
    found: list[Period] = []
    for period in sorted(each for each in periods if each.start < each.end):
        if found and period.start <= found[-1].end:
            found[-1] = Period(found[-1].start, max(found[-1].end, period.end))
        else:
            found.append(period)
    return found


class SteadyTime:
    """The time of a clock that is set back by seconds now and then: what has begun then begins once."""

    def __init__(self) -> None:
        self._latest = 0.0

    def at(self, wall: float) -> float:
        """`wall` (seconds since 1970), or the latest one before if the clock was set back by less than `HOLD_BACK`."""
        if not 0.0 < self._latest - wall < HOLD_BACK:
            self._latest = wall
        return self._latest


@dataclass(frozen=True)
class Playlist:
    """Cues that play one after another while a show is open, from the first one at each opening.

    Attributes:
        cues: Their names.
        every: Seconds that each plays.
    """

    cues: tuple[str, ...]
    every: float

    def cue_at(self, wall: float, period: Period) -> str:
        """The cue of a time within a period."""
        return self.cues[self.place_at(wall, period) % len(self.cues)]

    def place_at(self, wall: float, period: Period) -> int:
        """How many cues have played since the period began."""
        return int((wall - period.start) / self.every)

    def starts(self, period: Period) -> Iterator[tuple[float, str]]:
        """When each cue starts, in seconds since 1970, and its name."""
        for place in range(int((period.end - period.start) / self.every) + 1):
            start = period.start + place * self.every
            if start < period.end:
                yield start, self.cues[place % len(self.cues)]
