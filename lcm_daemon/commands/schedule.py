"""`lcm-daemon schedule`: prints what a show does by the time of day: opening hours, playlist, cues, recycling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from lcm_daemon.automation.cue_store import CueStore
from lcm_daemon.automation.opening_times import Period, Playlist
from lcm_daemon.commands.output import print_line
from lcm_daemon.shows.opening_hours import CUE, OpeningHours
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show


class Event(NamedTuple):
    """Something that happens at a time, in seconds since 1970; `text` says what. more: Lines below it."""

    at: float
    text: str
    more: str = ""


def schedule(name: str, overrides: Sequence[str], days: int, first: date | None = None) -> int:
    """Print what happens on some days. Return the exit code.

    Args:
        name: The show's file or name.
        overrides: As of `run --set`.
        days: How many days.
        first: The first day; None for today.

    Raises:
        LcmDaemonError: The show has mistakes.
    """
    show = load_show(name, overrides)
    hours = show.unattended.opening_hours or OpeningHours()
    now = datetime.now(hours.times.zone)
    first = first or now.date()
    print_line(f"{show.file}, times of {_zone_name(hours.times.zone, now)}")
    for day in (first + timedelta(days=number) for number in range(days)):
        print_line(f"{day:%a %d %b %Y}")
        for line in _lines(events_of(show, hours, day), hours, day):
            print_line(line)
    return 0


def _lines(events: Sequence[Event], hours: OpeningHours, day: date) -> Iterator[str]:
    times = hours.times
    for event in events:
        yield f"  {datetime.fromtimestamp(event.at, times.zone):%H:%M}  {event.text}"
        if event.more:
            yield f"         {event.more}"
    edges = [edge for period in times.periods_of(day) for edge in period]
    if not edges:
        yield "         does not open"
    elif all(times.is_open(edge) and times.is_open(edge - 1e-3) for edge in edges):
        yield "         open all day"


def _zone_name(zone: tzinfo | None, now: datetime) -> str:
    return str(zone) if zone is not None else f"this machine's zone ({now.astimezone():%Z})"


def _midnight(day: date, hours: OpeningHours) -> float:
    return hours.times.seconds(day, 0)


def events_of(show: Show, hours: OpeningHours, day: date) -> list[Event]:
    """What happens on a day of the show's zone, in its order. What lasts past midnight belongs to the day it is on."""
    start, end = _midnight(day, hours), _midnight(day + timedelta(days=1), hours)
    around = [day + timedelta(days=days) for days in (-2, -1, 0, 1)]
    found = [*_clock_changes(day, hours), *_daily(show, hours, day)]
    for period in (period for each in around for period in hours.times.periods_of(each)):
        found += [*_openings(hours, period), *_playlist(hours, period)]
    return sorted((event for event in found if start <= event.at < end), key=lambda event: event.at)


def _clock_changes(day: date, hours: OpeningHours) -> Iterator[Event]:
    """The change to summer time, or back."""
    zone = hours.times.zone
    before, after = (datetime.fromtimestamp(_midnight(day + timedelta(days=days), hours), zone).astimezone(zone)
                     for days in (0, 1))
    shift = (after.utcoffset() or timedelta()) - (before.utcoffset() or timedelta())
    if not shift:
        return
    low, high = before.timestamp(), after.timestamp()
    while high - low > 1.0:  # find the moment
        middle = (low + high) / 2
        same = datetime.fromtimestamp(middle, zone).astimezone(zone).utcoffset() == before.utcoffset()
        low, high = (middle, high) if same else (low, middle)
    hour = f"{abs(shift.total_seconds()) / 3600:g} h"
    yield Event(float(round(high)), f"clocks have gone {'forward' if shift > timedelta() else 'back'} by {hour}")


def _daily(show: Show, hours: OpeningHours, day: date) -> Iterator[Event]:
    """Cues with a time of day, also recorded ones, and recycling."""
    recorded = CueStore(show.companion_file).read().cues
    cues = {cue.name: cue for cue in (*show.cues, *recorded)}
    times = [(cue.at, f"cue {cue.name}") for cue in cues.values() if cue.time_of_day]
    if hours.recycle:
        times.append((hours.recycle, "engines and desk are replaced by new processes"))
    for at, text in times:
        moment = datetime.combine(day, time.fromisoformat(at), hours.times.zone)
        yield Event(moment.timestamp(), text)


def _openings(hours: OpeningHours, period: Period) -> Iterator[Event]:
    """The opening and the closing of a period, unless another one follows at once."""
    times = hours.times
    if not times.is_open(period.start - 1e-3):
        if hours.warm_up and (hours.unload or hours.open_command):
            yield Event(period.start - hours.warm_up, _joined("engines are loaded" if hours.unload else "",
                                                              _runs(hours.open_command)))
        yield Event(period.start, "opens")
    if not times.is_open(period.end):
        what = f"cue {hours.cue}" if hours.shows == CUE else hours.shows
        yield Event(period.end, _joined(f"closes: {what}", "then no engine runs" if hours.unload else "",
                                        _runs(hours.close_command)))


def _runs(command: Sequence[str]) -> str:
    return f"the command {command[0]} runs" if command else ""


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def _playlist(hours: OpeningHours, period: Period) -> Iterator[Event]:
    """The first round of the playlist."""
    playlist = hours.playlist
    if playlist is None:
        return
    starts = list(playlist.starts(period))
    first = starts[:len(playlist.cues)]
    for number, (at, cue) in enumerate(first, 1):
        yield Event(at, f"cue {cue}", _rest(playlist, len(starts)) if number == len(first) else "")


def _rest(playlist: Playlist, starts: int) -> str:
    """What follows the first round."""
    if starts <= len(playlist.cues):
        return ""
    return f"and again from {playlist.cues[0]}, a cue every {playlist.every / 60:g} min"
