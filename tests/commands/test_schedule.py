"""`lcm-daemon schedule`: what it prints, and that it is what the keeper of the hours does."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lcm_daemon.cli import main

SHOW = """recipe: passthrough
cues: [{name: dawn}, {name: tide}, {name: night}, {name: lamps, at: "17:30"}]
opening_hours:
  zone: Europe/Berlin
  open: [{days: sat, from: "20:00", to: "02:00"}, {days: sun, from: "10:00", to: "10:30"}]
  closed_on: [2026-11-07]
  closed: {show: slate, warm_up: 120}
  playlist: {cues: [dawn, tide], every: 1800}
  recycle: "04:00"
"""


@pytest.fixture
def show(tmp_path: Path) -> str:
    file = tmp_path / "show.yaml"
    file.write_text(SHOW)
    return str(file)


def test_what_happens_on_each_day(show: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", show, "--from", "2026-10-24", "--days", "3"]) == 0
    assert capsys.readouterr().out == f"""{show}, times of Europe/Berlin
Sat 24 Oct 2026
  04:00  engines and desk are replaced by new processes
  17:30  cue lamps
  19:58  engines are loaded
  20:00  opens
  20:00  cue dawn
  20:30  cue tide
         and again from dawn, a cue every 30 min
Sun 25 Oct 2026
  02:00  closes: slate, then no engine runs
  02:00  clocks have gone back by 1 h
  04:00  engines and desk are replaced by new processes
  09:58  engines are loaded
  10:00  opens
  10:00  cue dawn
  10:30  closes: slate, then no engine runs
  17:30  cue lamps
Mon 26 Oct 2026
  04:00  engines and desk are replaced by new processes
  17:30  cue lamps
         does not open
"""


def test_one_week_begins_today(show: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", show, "--set", "opening_hours.closed_on=daily"]) == 0
    lines = capsys.readouterr().out.splitlines()
    today = datetime.now(ZoneInfo("Europe/Berlin"))
    days = [line for line in lines[1:] if not line.startswith(" ")]
    assert days[0] in (f"{today:%a %d %b %Y}", f"{today - timedelta(seconds=30):%a %d %b %Y}")
    assert (len(days), lines.count("         does not open")) == (7, 7)


def test_a_show_without_hours_is_always_open(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "demo", "--days", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "times of this machine's zone" in lines[0]
    assert lines[2::2] == ["         open all day"] * 2


@pytest.mark.parametrize("arguments", [
    ["--days", "0"], ["--days", "x"], ["--from", "24.12."], ["--from", "0001-01-01"],
])
def test_wrong_arguments(show: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["schedule", show, *arguments])
    assert "is not a" in capsys.readouterr().err
