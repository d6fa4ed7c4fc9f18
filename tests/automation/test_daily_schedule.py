"""The schedule of cues against clocks that are wrong, set, or changed twice a year."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lcm_daemon.automation.daily_schedule import CLOCK_IS_SET, DailySchedule

BERLIN = ZoneInfo("Europe/Berlin")
TIMES = [("open", "10:00"), ("shut", "18:00")]


def berlin(text: str, fold: int = 0) -> float:
    """Seconds since 1970 of a time in Berlin. fold: 1 for the second of two that are equal."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.fixture
def schedule() -> DailySchedule:
    return DailySchedule(BERLIN)


@pytest.mark.parametrize(("at", "name"), [
    ("2026-11-28 09:59:59", "shut"), ("2026-11-28 10:00", "open"), ("2026-11-28 17:00", "open"),
    ("2026-11-28 18:00", "shut"), ("2026-11-28 00:00", "shut"),
])
def test_what_should_be_on_is_put_on_at_the_start_and_once(schedule: DailySchedule, at: str, name: str) -> None:
    assert schedule.due(berlin(at), TIMES) == name
    for seconds in range(1, 100):
        assert schedule.due(berlin(at) + 0.01 * seconds, TIMES) == ""


def test_every_minute_of_a_year(schedule: DailySchedule) -> None:
    """Each time of each day once, over both changes of the clock."""
    start, times = berlin("2026-01-01 00:00"), [*TIMES, ("night", "02:30")]
    schedule.due(start, times)
    begun = [(name, datetime.fromtimestamp(start + 60 * minute, BERLIN).replace(tzinfo=None))
             for minute in range(365 * 24 * 60) if (name := schedule.due(start + 60 * minute, times))]
    wanted = [(name, datetime.fromisoformat(f"2026-01-01 {at}") + timedelta(days=day))
              for day in range(365) for name, at in sorted(times, key=lambda each: each[1])]
    assert [name for name, _ in begun] == [name for name, _ in wanted]
    late = [(found, due) for (_, found), (_, due) in zip(begun, wanted, strict=True) if found != due]
    assert late == [(datetime(2026, 3, 29, 3, 30), datetime(2026, 3, 29, 2, 30))]  # a time that the day does not have


def test_a_time_that_comes_twice_in_autumn_is_carried_out_once(schedule: DailySchedule) -> None:
    times = [("night", "02:30"), ("day", "09:00")]
    schedule.due(berlin("2026-10-25 01:00"), times)
    assert schedule.due(berlin("2026-10-25 02:30"), times) == "night"
    assert schedule.due(berlin("2026-10-25 02:00", fold=1), times) == ""
    assert schedule.due(berlin("2026-10-25 02:30", fold=1), times) == ""
    assert schedule.due(berlin("2026-10-25 09:00"), times) == "day"


def test_small_steps_back_repeat_nothing_and_large_ones_put_on_what_should_be(schedule: DailySchedule) -> None:
    assert schedule.due(berlin("2026-11-28 18:00:01"), TIMES) == "shut"
    for step in (2, 10, 600, 3500):
        assert schedule.due(berlin("2026-11-28 18:00:01") - step, TIMES) == ""
        assert schedule.due(berlin("2026-11-28 18:00:02"), TIMES) == ""
    assert schedule.due(berlin("2026-11-28 12:00"), TIMES) == "open"
    assert schedule.due(berlin("2030-11-28 19:00"), TIMES) == "shut"
    assert schedule.due(berlin("2026-11-28 12:00"), TIMES) == "open"


def test_a_clock_that_is_not_set_waits(schedule: DailySchedule, caplog: pytest.LogCaptureFixture) -> None:
    """A machine without a clock battery: it starts in 1970, and NTP sets the clock a minute later."""
    for seconds in range(60):
        assert schedule.due(float(seconds), TIMES) == ""
    assert caplog.text.count("the clock of this machine is not set (1970-01-01)") == 1
    assert schedule.due(berlin("2026-11-28 10:15"), TIMES) == "open"
    assert berlin("2026-11-28 10:15") > CLOCK_IS_SET


@pytest.mark.parametrize(("slept", "name"), [
    (timedelta(minutes=5), ""), (timedelta(hours=8), "shut"), (timedelta(hours=24), "open"),
    (timedelta(days=3), "open"),
])
def test_sleep(schedule: DailySchedule, slept: timedelta, name: str) -> None:
    at = berlin("2026-11-28 12:00")
    assert schedule.due(at, TIMES) == "open"
    assert schedule.due(at + slept.total_seconds(), TIMES) == name


def test_an_edited_schedule_changes_nothing_that_is_past(schedule: DailySchedule) -> None:
    at = berlin("2026-11-28 12:00")
    assert schedule.due(at, TIMES) == "open"
    edited = [*TIMES, ("noon", "11:55"), ("soon", "12:01")]
    assert schedule.due(at + 1, edited) == ""
    assert schedule.due(at + 61, edited) == "soon"
    assert schedule.due(at + 62, TIMES) == ""


def test_a_restored_schedule(schedule: DailySchedule) -> None:
    assert schedule.due(berlin("2026-11-27 12:00"), TIMES) == "open"
    later = DailySchedule(BERLIN)
    later.restore(schedule.done)
    assert later.due(berlin("2026-11-27 13:00"), TIMES) == ""
    later = DailySchedule(BERLIN)
    later.restore(schedule.done)
    assert later.due(berlin("2026-11-27 19:00"), TIMES) == "shut"
    unknown = DailySchedule(BERLIN)
    unknown.restore(0.0)
    assert unknown.due(berlin("2026-11-27 19:00"), TIMES) == ""
    assert unknown.due(berlin("2026-11-28 10:00"), TIMES) == "open"


def test_of_two_cues_at_one_time_the_later_one_of_the_list_starts(schedule: DailySchedule) -> None:
    assert schedule.due(berlin("2026-11-28 12:00"), [("b", "10:00"), ("a", "10:00")]) == "a"
