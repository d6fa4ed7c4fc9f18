"""The whole command: a copy of a show plays beside a control, its desk is killed, and the report says what was seen."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from lcm_daemon.cli import main
from lcm_daemon.commands.soak import course
from tests.commands.test_html_page import figures_of

SHOW = {"name": "short", "recipe": "passthrough", "output": {"size": [512, 256], "fps": 25},
        "sinks": [{"transport": "memory", "name": "own"}], "network": {"access": {"pin": "123456"}},
        "engine": {"spare": False}}


@pytest.mark.slow
def test_a_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(course, "CALM_SECONDS", 2.5)
    show, report = tmp_path / "short.yaml", tmp_path / "report.html"
    show.write_text(yaml.safe_dump(SHOW))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    code = main(["soak", str(show), "--hours", "0.001", "--only", "desk-kill", "--report", str(report)])
    found = json.loads(json.dumps(figures_of(report.read_text("utf-8"))))
    assert code == (0 if found["ok"] else 1)
    (fault,) = found["faults"]
    assert (fault["name"], fault["skipped"]) == ("desk-kill", "")
    assert fault["recovery"] is not None
    assert 0 < fault["gap_ms"] < 5000
    assert found["longest_gap_ms"] > 0
    assert found["control_longest_gap_ms"] > 0
    assert found["latency_ms"]["changes"] > 0, "test cards that become bright and dark go through it"
    assert report.read_text("utf-8").count("<svg") >= 6
    assert "desk-kill: recovered" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path)) == ["report.html", "short.yaml"], "the show's own folder stays as it was"
    left = [child for child in psutil.Process().children(recursive=True)
            if child.pid not in before and child.status() != psutil.STATUS_ZOMBIE]  # one that ended a moment ago
    assert not [child for child in left if not re.search("resource_tracker", " ".join(child.cmdline()))]


@pytest.fixture
def _signals() -> Iterator[None]:
    """The signals that a soak takes over, as they were before it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals that a program could send")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_end_it_early(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell lets a program that it starts in the background ignore Ctrl-C."""
    ended = []

    def soak(*arguments: object) -> int:
        try:
            signal.raise_signal(number)  # in this thread, before the next line
        except KeyboardInterrupt:
            ended.append(number)
        return 0

    monkeypatch.setattr(course, "soak", soak)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert main(["soak", "demo"]) == 0
    assert ended == [number]


def test_mistakes_are_said_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["nothing"], ["demo", "--set", "output.fps=x"], ["demo", "--only", "nothing"],
                  ["demo", "--report", str(tmp_path / "absent" / "x.html")]):
        assert main(["soak", "--report", str(tmp_path / "x.html"), *words]) == 2
    assert not list(tmp_path.iterdir())
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "day", "1e9"])
def test_hours_are_a_number(hours: str) -> None:
    with pytest.raises(SystemExit):
        main(["soak", "demo", "--hours", hours])
