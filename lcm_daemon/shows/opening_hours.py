"""The show's section `opening_hours`: its keys and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lcm_daemon.automation.opening_times import DAY, EVERY_DAY, Days, Opening, OpeningTimes, Playlist
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import (
    Boolean,
    Choice,
    Custom,
    Field,
    Fields,
    Number,
    OrFalse,
    Section,
    Text,
    defaults,
)
from lcm_daemon.shows.alarm_options import COMMAND
from lcm_daemon.shows.opening_days import DAYS, TIME, TIME_OF_DAY, ZONE, Some

BLACK, SLATE, CUE = "black", "slate", "cue"  # what shows while it is closed


@dataclass(frozen=True)
class OpeningHours:
    """The show's section `opening_hours`.

    Attributes:
        times: When it is open.
        shows: What the output shows while it is closed: BLACK, SLATE or CUE.
        cue: The name of that cue, "" for none.
        fade: Seconds of the fade to black or slate, and back.
        unload: Whether no engine runs while it is closed.
        warm_up: Seconds before opening at which engines are loaded.
        playlist: What plays while it is open; None leaves the cues alone.
        recycle: Time of day at which engines and desk are replaced by new ones, as "04:00"; "" for never.
        open_command: A program with its arguments, which switches displays on; empty for none.
        close_command: The same, which switches them off.
    """

    times: OpeningTimes = field(default_factory=OpeningTimes)
    shows: str = BLACK
    cue: str = ""
    fade: float = 5.0
    unload: bool = True
    warm_up: float = 300.0
    playlist: Playlist | None = None
    recycle: str = ""
    open_command: tuple[str, ...] = ()
    close_command: tuple[str, ...] = ()


_OPENING: Fields = {
    "days": Field(DAYS, None, "every day if it does not say; dates replace what is said of their weekdays"),
    "from": Field(TIME, help="when it opens"),
    "to": Field(TIME, help="when it closes; before `from`, on the next day"),
    "during": Field(DAYS, None, "the part of the year to which this is limited, such as 04-01/10-31"),
}
_CLOSED: Fields = {
    "show": Field(Choice((BLACK, SLATE, CUE)), BLACK, "what the output shows while it is closed"),
    "cue": Field(Text("cue"), "", "the cue, with `show: cue`"),
    "fade": Field(Number(0, 3600), 5.0, "seconds of the fade to black or slate, and back"),
    "unload": Field(Boolean(), True, "end the engines while it is closed, so that the device is cool and its memory "
                                     "is free"),
    "warm_up": Field(Number(0, 86_400), 300.0, "seconds before opening at which the engines are loaded again"),
}


def _read_closed(node: Node, problems: Problems) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = Section(_CLOSED).read(node, problems)
    if found and (found["show"] == CUE) != bool(found["cue"]):
        problems.add(node, "`show: cue` and `cue: NAME` go together: each needs the other")
    return found


_PLAYLIST: Fields = {
    "cues": Field(Some(Text("cue")), help="the cues, in their order"),
    "every": Field(Number(1, 86_400), help="seconds that each plays"),
}
_COMMANDS: Fields = {
    "open": Field(COMMAND, (), "before it opens, as the engines are loaded; LCM_HOURS is open"),
    "close": Field(COMMAND, (), "when the output has faded out; LCM_HOURS is close"),
}
_FIELDS: Fields = {
    "zone": Field(ZONE, None,
                  "the zone of every time of day, those of cues (`at`) too; without it, the machine's"),
    "open": Field(Some(Custom(lambda node, problems: _read_opening(node, problems), "an opening", Section(_OPENING))),
                  (), "when it is open; always, if the show does not say"),
    "closed_on": Field(DAYS, None, "days on which it does not open"),
    "closed": Field(Custom(_read_closed, "a mapping", Section(_CLOSED)), defaults(_CLOSED),
                    "what happens while it is closed"),
    "playlist": Field(OrFalse(Section(_PLAYLIST)), None, "cues that play one after another while it is open"),
    "recycle": Field(OrFalse(TIME_OF_DAY), "",
                     "time of day at which engines and desk are replaced by new processes, without a gap"),
    "commands": Field(Section(_COMMANDS), defaults(_COMMANDS), "programs that switch displays, projectors and lights"),
}


def _read_opening(node: Node, problems: Problems) -> Opening | None:
    found: Mapping[str, Any] | None = Section(_OPENING).read(node, problems)
    if found is None or not all(isinstance(found[key], int) for key in ("from", "to")):
        return None  # the mistake is among the problems
    start, end = found["from"], found["to"]
    if start % DAY == end % DAY and end - start != DAY:
        problems.add(node, 'from and to are the same time; a whole day is from "00:00" to "24:00"')
        return None
    if found["days"] == Days():
        problems.add(node, "days has none; leave the key out for every day")
    return Opening(found["days"] or EVERY_DAY, start, end if end > start else end + DAY, found["during"])


def _read_section(node: Node, problems: Problems) -> OpeningHours | None:
    before = len(problems)
    found = Section(_FIELDS).read(node, problems)
    if found is None or len(problems) > before:
        return None
    closed, playlist = found["closed"], found["playlist"]
    return OpeningHours(
        OpeningTimes(found["open"] or (Opening(),), found["closed_on"] or Days(), found["zone"]),
        closed["show"], closed["cue"], closed["fade"], closed["unload"], closed["warm_up"],
        Playlist(**playlist) if playlist else None, found["recycle"] or "",
        found["commands"]["open"] or (), found["commands"]["close"] or ())


OPENING_HOURS = Field(
    OrFalse(Custom(_read_section, f"a mapping with the keys {', '.join(_FIELDS)}", Section(_FIELDS))), None,
    "when the show is open, what it plays, and what it shows while it is closed")
