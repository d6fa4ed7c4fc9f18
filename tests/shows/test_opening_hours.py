"""The section `opening_hours` of a show: what it reads to, and what is wrong with it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lcm_daemon.automation.opening_times import DAY, EVERY_DAY, Days, Opening, Playlist
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.shows.opening_hours import OpeningHours
from lcm_daemon.shows.reader import load_show

CUES = "recipe: passthrough\ncues: [{name: dawn}, {name: tide}, {name: night}]\n"


def read(tmp_path: Path, section: str) -> OpeningHours | None:
    file = tmp_path / "show.yaml"
    file.write_text(f"{CUES}opening_hours: {section}\n")
    return load_show(file, environment={}).unattended.opening_hours


def test_a_whole_section(tmp_path: Path) -> None:
    found = read(tmp_path, """
  zone: Europe/Berlin
  open:
    - {days: mon-fri, from: "10:00", to: "18:00"}
    - {days: [Sat, sunday], from: 11:00, to: 02:00, during: 04-01/10-31}
    - {days: "2026-12-31 to 2027-01-01", from: 9:00, to: 24:00}
  closed_on: [2026-12-24, 12-25/01-02, mon]
  closed: {show: cue, cue: night, unload: false, fade: 2, warm_up: 60}
  playlist: {cues: [dawn, tide], every: 1200}
  recycle: 4:00""")
    assert found is not None
    assert found.times.zone == ZoneInfo("Europe/Berlin")
    assert found.times.openings == (
        Opening(Days(frozenset(range(5))), 600, 1080),
        Opening(Days(frozenset({5, 6})), 660, DAY + 120, Days(yearly=(((4, 1), (10, 31)),))),
        Opening(Days(dates=((date(2026, 12, 31), date(2027, 1, 1)),)), 540, DAY))
    assert found.times.closed_on == Days(
        frozenset({0}), ((date(2026, 12, 24), date(2026, 12, 24)),), (((12, 25), (1, 2)),))
    assert (found.shows, found.cue, found.fade, found.unload, found.warm_up) == ("cue", "night", 2.0, False, 60.0)
    assert found.playlist == Playlist(("dawn", "tide"), 1200.0)
    assert found.recycle == "04:00"


def test_without_times_it_is_always_open_and_closed_is_black_without_engines(tmp_path: Path) -> None:
    assert read(tmp_path, "{}") == OpeningHours()
    assert read(tmp_path, "{recycle: false, playlist: false}") == OpeningHours()
    assert read(tmp_path, "false") is None
    found = read(tmp_path, "{open: [{from: '00:00', to: '24:00'}]}")
    assert found is not None
    assert found.times.openings == (Opening(EVERY_DAY, 0, DAY),)


@pytest.mark.parametrize(("section", "mistake"), [
    ("{zone: Europe/Berln}", "'Europe/Berln' is not a zone such as Europe/Berlin; did you mean 'Europe/Berlin'?"),
    ("{zone: ../../etc/passwd}", "is not a zone"), ("{zone: Europe}", "is not a zone"), ("{zone: [UTC]}", "zone"),
    ("{open: [{from: 10:60, to: 12:00}]}", "'10:60' is not a time of day"),
    ("{open: [{from: 10:00, to: 24:01}]}", "'24:01' is not a time of day"),
    ("{open: [{from: 10:00, to: 10:00}]}", "from and to are the same time"),
    ("{open: [{from: 10:00}]}", "key 'to' is missing"), ("{open: [7]}", "is not a mapping"),
    ("{open: [{days: mon-fro, from: 1:00, to: 2:00}]}", "'mon-fro' is not one of days such as"),
    ("{open: [{days: [], from: 1:00, to: 2:00}]}", "days has none"), ("{open: []}", "the list is empty"),
    ("{closed_on: 2026-02-30}", "'2026-02-30' is not"), ("{closed_on: [2026-12-26/2026-12-24]}", "is not one of days"),
    ("{closed_on: t}", "'t' is not one of days"), ("{closed_on: 13-01}", "'13-01' is not"),
    ("{closed: {show: cue}}", "`show: cue` and `cue: NAME` go together"),
    ("{closed: {cue: night}}", "`show: cue` and `cue: NAME` go together"),
    ("{playlist: {cues: [], every: 5}}", "the list is empty"), ("{playlist: {cues: [dawn]}}", "'every' is missing"),
    ("{recycle: 4}", "'4' is not a time of day"), ("{close: 18:00}", "unknown key 'close'"),
])
def test_mistakes_are_named_at_their_place(tmp_path: Path, section: str, mistake: str) -> None:
    with pytest.raises(DocumentError, match=r"show\.yaml:3:\d+: ") as found:
        read(tmp_path, section)
    assert mistake in str(found.value)
    assert len(str(found.value).splitlines()) == 1


def test_all_mistakes_are_found_at_once(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as found:
        read(tmp_path, "{zone: X, open: [{from: 1:00, to: 1:00}], closed: {show: cue}, playlist: {cues: []}, "
                       "recycle: x}")
    assert len(str(found.value).splitlines()) == 6
