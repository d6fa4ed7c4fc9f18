"""Kinds of values of opening hours: days, times of day, zones. YAML reads 10:00 as 600: the text counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Any

import yaml

from lcm_daemon.automation.opening_times import DAY, Days
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Custom, Items, Text
from lcm_daemon.core.schema_shapes import Either
from lcm_daemon.core.suggestions import nearest

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS = "days such as mon-fri, sun, daily, 2026-12-24, 2026-12-24/2027-01-06 or 12-24 (each year)"
_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_DATE, _OF_YEAR = re.compile(r"\d{4}-\d{2}-\d{2}"), re.compile(r"\d{2}-\d{2}")
_LEAP_YEAR = 2024  # it has every day of a year


def _scalar(node: Node) -> str:
    """The text as it is written; "" for a list."""
    return str(node.raw.value) if isinstance(node.raw, yaml.ScalarNode) else ""


def _read_minutes(node: Node, problems: Problems) -> int | None:
    found = _TIME.fullmatch(_scalar(node))
    minutes = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else DAY + 1
    if minutes <= DAY:
        return minutes
    problems.add(node, f"{_scalar(node)!r:.40} is not {TIME.describe()}")
    return None


def _read_time_of_day(node: Node, problems: Problems) -> str | None:
    minutes = _read_minutes(node, problems)
    return None if minutes is None else "{:02}:{:02}".format(*divmod(minutes % DAY, 60))


def _read_zone(node: Node, problems: Problems) -> tzinfo | None:
    import zoneinfo

    name = _scalar(node)
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError
        known = zoneinfo.available_timezones()
        hint = nearest(name[:80], sorted(known)) if known else "; pip install tzdata"
        problems.add(node, f"{name!r:.80} is not a zone such as Europe/Berlin{hint}")
        return None


def _read_days(node: Node, problems: Problems) -> Days | None:
    nodes = [Node(node.file, raw) for raw in node.raw.value] if isinstance(node.raw, yaml.SequenceNode) else [node]
    found: list[Days] = []
    before = len(problems)
    for one in nodes:
        for part in _scalar(one).split(","):
            if (days := _days_of(part.strip())) is None:
                problems.add(one, f"{part.strip()!r:.40} is not one of {_DAYS}")
            else:
                found.append(days)
    if len(problems) > before:
        return None
    return Days(frozenset(day for days in found for day in days.weekdays),
                tuple(span for days in found for span in days.dates),
                tuple(span for days in found for span in days.yearly))


def _days_of(text: str) -> Days | None:
    """The days of one name, date or range; None if it is none."""
    if text.casefold() in ("daily", "every day"):
        return Days(frozenset(range(7)))
    ends = re.split(r"\s*/\s*|\s+to\s+", text)
    if len(ends) <= 2 and all(map(_DATE.fullmatch, ends)):
        first, last = _date(ends[0]), _date(ends[-1])
        return Days(dates=((first, last),)) if first and last and first <= last else None
    if len(ends) <= 2 and all(map(_OF_YEAR.fullmatch, ends)):
        first, last = (_date(f"{_LEAP_YEAR}-{end}") for end in (ends[0], ends[-1]))
        return Days(yearly=(((first.month, first.day), (last.month, last.day)),)) if first and last else None
    names = [_weekday(name.strip()) for name in text.split("-")]
    if not 1 <= len(names) <= 2 or None in names:
        return None
    first_day, last_day = names[0] or 0, names[-1] or 0
    return Days(frozenset((first_day + days) % 7 for days in range((last_day - first_day) % 7 + 1)))


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # 31 June
        return None


def _weekday(text: str) -> int | None:
    """0 for "mon", "Mon" or "monday"; None for anything else."""
    known = [day for day, name in enumerate(WEEKDAYS) if len(text) >= 3 and name.startswith(text.casefold())]
    return known[0] if known else None


TIME = Custom(_read_minutes, 'a time of day such as "10:00", up to "24:00"', Text())


@dataclass(frozen=True)
class Some(Items):
    """A list with at least one item."""

    def read(self, node: Node, problems: Problems) -> Any:
        found = super().read(node, problems)
        if found == ():
            problems.add(node, "the list is empty; leave the key out, or give it an item")
        return found


DAYS = Custom(_read_days, _DAYS, Either((Text(), Items(Text()))))
TIME_OF_DAY = Custom(_read_time_of_day, 'a time of day such as "04:00"', Text())
ZONE = Custom(_read_zone, "a zone such as Europe/Berlin", Text())
