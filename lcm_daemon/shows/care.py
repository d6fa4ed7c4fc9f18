"""The show's section `care`: what is watched while it is left alone, and how the display is spared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lcm_daemon.automation.opening_times import DAY, Opening
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Custom, Field, Fields, Number, OrFalse, Section
from lcm_daemon.shows.opening_days import TIME

_SECONDS = OrFalse(Number(1, 86_400))


@dataclass(frozen=True)
class Orbit:
    """The output moves a little, so that no edge stays on the same pixels of the display.

    Attributes:
        pixels: How far it moves to each side.
        every: Seconds between two moves of one pixel.
    """

    pixels: int
    every: float


@dataclass(frozen=True)
class Night:
    """The output is dimmed at night.

    Attributes:
        times: From when to when, every day.
        level: Brightness at night, from 0 to 1.
        fade: Seconds that it takes to become dark after the start, and to become bright before the end.
    """

    times: Opening
    level: float
    fade: float


@dataclass(frozen=True)
class Care:
    """The show's section `care`. What is None is not watched, or not done.

    Attributes:
        black: Seconds for which the output may be black where the show means a picture.
        frozen: Seconds for which it may stay unchanged while its input changes.
        failsafe: Seconds for which it may show the failsafe.
        disk_free: MiB that every disk in use should have left.
        gpu_temperature: Degrees Celsius that a graphics card may reach.
        gpu_memory: Percent of its memory that may be in use.
        orbit: How the output moves; None for not at all.
        night: When it is dimmed; None for never.
    """

    black: float | None = 10.0
    frozen: float | None = 60.0
    failsafe: float | None = 60.0
    disk_free: float | None = 500.0
    gpu_temperature: float | None = 87.0
    gpu_memory: float | None = 97.0
    orbit: Orbit | None = None
    night: Night | None = None


_ORBIT: Fields = {
    "pixels": Field(Number(1, 64, whole=True), 3, "how far the output moves to each side"),
    "every": Field(Number(1, 86_400), 60.0, "seconds between two moves of one pixel"),
}
_NIGHT: Fields = {
    "from": Field(TIME, help="when the output begins to become dark"),
    "to": Field(TIME, help="when it is bright again; before `from`, on the next day"),
    "level": Field(Number(0, 1), 0.2, "brightness at night; 1 is that of the day"),
    "fade": Field(Number(0, 21_600), 600.0, "seconds that it takes to become dark or bright"),
}
_FIELDS: Fields = {
    "black": Field(_SECONDS, Care.black, "seconds that the output may be black where the show means a picture"),
    "frozen": Field(_SECONDS, Care.frozen, "seconds that it may stay unchanged while its input changes"),
    "failsafe": Field(_SECONDS, Care.failsafe, "seconds that it may show the failsafe"),
    "disk_free": Field(OrFalse(Number(1, 1e9)), Care.disk_free, "MiB that should be left on the disks of recordings, "
                       "state and log"),
    "gpu_temperature": Field(OrFalse(Number(30, 150)), Care.gpu_temperature, "degrees Celsius that a graphics card "
                             "may reach"),
    "gpu_memory": Field(OrFalse(Number(1, 100)), Care.gpu_memory, "percent of its memory that may be in use"),
    "orbit": Field(OrFalse(Section(_ORBIT)), None, "move the output a little, against burn-in"),
    "night": Field(OrFalse(Custom(lambda node, problems: _read_night(node, problems), "the times of a night",
                                  Section(_NIGHT))), None, "dim the output at night"),
}


def _read_night(node: Node, problems: Problems) -> Night | None:
    found: Mapping[str, Any] | None = Section(_NIGHT).read(node, problems)
    if found is None or not all(isinstance(found[key], int) for key in ("from", "to")):
        return None  # the mistake is among the problems
    start, end = found["from"] % DAY, found["to"] % DAY
    if start == end:
        problems.add(node, "from and to are the same time")
        return None
    length = (end - start) % DAY
    if found["fade"] is not None and 2 * found["fade"] > length * 60:
        problems.add(node, f"two fades of {found['fade']:g} s are longer than the night of {length * 60} s")
        return None
    return Night(Opening(start=start, end=start + length), found["level"], found["fade"])


def _read_section(node: Node, problems: Problems) -> Care | None:
    before = len(problems)
    found = Section(_FIELDS).read(node, problems)
    if found is None or len(problems) > before:
        return None
    return Care(**{**found, "orbit": Orbit(**found["orbit"]) if found["orbit"] else None})


CARE = Field(
    OrFalse(Custom(_read_section, f"a mapping with the keys {', '.join(_FIELDS)}", Section(_FIELDS))), None,
    "watch the output, the disks and the graphics card, and spare the display; {} for the usual limits")
