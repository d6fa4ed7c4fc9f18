"""Opening times over a year, changes of the clock included, and against clocks that are set."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from lcm_daemon.automation.opening_times import (
    DAY,
    EVERY_DAY,
    Days,
    Opening,
    OpeningTimes,
    Period,
    Playlist,
    SteadyTime,
)

BERLIN = ZoneInfo("Europe/Berlin")
WEEK, SUNDAY = Days(frozenset(range(5))), Days(frozenset({6}))
HOLIDAYS = Days(dates=((date(2026, 12, 24), date(2026, 12, 24)),), yearly=(((12, 31), (1, 2)),))
MUSEUM = OpeningTimes((Opening(WEEK, 600, 1080), Opening(SUNDAY, 1200, DAY + 120)), HOLIDAYS, BERLIN)


def berlin(text: str, fold: int = 0) -> float:
    """Seconds since 1970 of a time in Berlin. fold: 1 for the second of two that are equal."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(("at", "is_open"), [
    ("2026-11-27 09:59:59.9", False), ("2026-11-27 10:00", True), ("2026-11-27 17:59:59.9", True),
    ("2026-11-27 18:00", False), ("2026-11-28 12:00", False),  # Saturday
    ("2026-11-29 23:00", True), ("2026-11-30 01:59", True), ("2026-11-30 02:00", False),
    ("2026-12-24 12:00", False), ("2026-12-31 12:00", False), ("2027-01-01 12:00", False), ("2027-01-04 12:00", True),
])
def test_whether_it_is_open(at: str, is_open: bool) -> None:
    assert MUSEUM.is_open(berlin(at)) is is_open


def test_a_year_over_both_changes_of_the_clock() -> None:
    """It opens and closes at the time that clocks show, and the next change is always the one that comes."""
    night = OpeningTimes((Opening(EVERY_DAY, 90, 150),), Days(), BERLIN)  # 01:30 to 02:30
    at, edges = berlin("2026-01-01 00:00"), []
    while len(edges) < 2 * 365:
        found = night.next_change(at)
        assert found is not None
        before, at = at, found
        assert night.is_open(before) == night.is_open((before + at) / 2) == night.is_open(at - 1.0) != night.is_open(at)
        edges.append(at)
    shown = [datetime.fromtimestamp(edge, BERLIN).strftime("%m-%d %H:%M") for edge in edges]
    wanted = [(datetime(2026, 1, 1) + timedelta(days=day)).strftime("%m-%d ") + time
              for day in range(365) for time in ("01:30", "02:30")]
    assert [(one, other) for one, other in zip(shown, wanted, strict=True) if one != other] == [
        ("03-29 03:30", "03-29 02:30")]  # a time that the day does not have
    autumn = [edge for edge in edges if berlin("2026-10-25 00:00") <= edge < berlin("2026-10-26 00:00")]
    assert autumn == [berlin("2026-10-25 01:30"), berlin("2026-10-25 02:30")]  # the first of the two


@pytest.mark.parametrize("seed", range(8))
def test_the_next_change_of_any_hours_is_the_first_one(seed: int) -> None:
    """Openings that overlap, touch, cross midnight and the end of summer time; found by looking at every half hour."""
    random = Random(seed)

    def days() -> Days:
        return Days(frozenset(random.sample(range(7), random.randint(1, 7))))

    openings = [Opening(days(), start, start + random.randrange(30, DAY + 30, 30))
                for start in random.sample(range(0, DAY, 30), random.randint(1, 4))]
    times = OpeningTimes(openings, days() if seed % 2 else Days(), BERLIN)
    wall = berlin("2026-10-23 00:00") + random.randrange(0, 4 * 86400, 900)
    now, looked = times.is_open(wall), (wall + 900 * step for step in range(8 * 96))
    later = next((at for at in looked if times.is_open(at) != now), None)
    found = times.next_change(wall)
    assert found == later if later is not None else found is None or found > wall + 8 * 86400 - 900


def test_a_date_replaces_its_weekday_and_a_closed_day() -> None:
    party = Days(dates=((date(2026, 12, 24), date(2026, 12, 25)),))
    times = OpeningTimes((*MUSEUM.openings, Opening(party, 1200, DAY)), HOLIDAYS, BERLIN)
    assert not times.is_open(berlin("2026-12-25 12:00"))  # a Friday
    assert times.is_open(berlin("2026-12-24 20:00"))
    assert times.is_open(berlin("2026-12-25 23:59"))


def test_a_part_of_the_year() -> None:
    summer = Opening(EVERY_DAY, 600, 1200, Days(yearly=(((4, 1), (10, 31)),)))
    times = OpeningTimes((Opening(WEEK, 660, 1020), summer), Days(), BERLIN)
    assert times.is_open(berlin("2026-06-01 19:00"))
    assert not times.is_open(berlin("2026-11-02 19:00"))
    assert times.is_open(berlin("2026-11-02 12:00"))
    assert times.period(berlin("2026-06-01 12:00")) == Period(berlin("2026-06-01 10:00"), berlin("2026-06-01 20:00"))


def test_a_show_that_never_closes_and_one_that_never_opens() -> None:
    assert OpeningTimes(zone=BERLIN).next_change(berlin("2026-11-28 12:00")) is None
    assert OpeningTimes(zone=BERLIN).is_open(berlin("2026-03-29 02:30"))
    never = OpeningTimes(closed_on=EVERY_DAY, zone=BERLIN)
    assert not never.is_open(berlin("2026-11-28 12:00"))
    assert never.next_change(berlin("2026-11-28 12:00")) is None


@pytest.mark.parametrize("wall", [0.0, -1e12, 1e15])
def test_clocks_that_are_wrong_by_centuries(wall: float) -> None:
    for zone in (BERLIN, None):
        OpeningTimes(MUSEUM.openings, HOLIDAYS, zone).next_change(wall)


def test_a_clock_that_is_set_back_by_seconds_repeats_nothing() -> None:
    time, at = SteadyTime(), berlin("2026-11-27 18:00:01")
    assert time.at(at) == at
    assert [time.at(at - step) for step in (0.5, 2, 59)] == [at] * 3
    assert time.at(at + 1) == at + 1
    assert time.at(at - 3600) == at - 3600
    assert time.at(at) == at


def test_a_playlist_begins_with_the_first_cue_at_each_opening() -> None:
    playlist, day = Playlist(("a", "b"), 1200.0), Period(berlin("2026-11-27 10:00"), berlin("2026-11-27 11:10"))
    starts = [(datetime.fromtimestamp(at, BERLIN).strftime("%H:%M"), cue) for at, cue in playlist.starts(day)]
    assert starts == [("10:00", "a"), ("10:20", "b"), ("10:40", "a"), ("11:00", "b")]
    for at, cue in playlist.starts(day):
        assert playlist.cue_at(at, day) == playlist.cue_at(at + 1199.9, day) == cue
