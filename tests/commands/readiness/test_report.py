"""The report on a show ends with one verdict and an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.cli import main
from lcm_daemon.commands import doctor
from lcm_daemon.commands.readiness import parts, report
from lcm_daemon.commands.readiness.report import examine_show


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LCM_DAEMON_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mirror.yaml"
    path.write_text("name: mirror\nrecipe: passthrough\nosc: {port: 9081}\npanel: {port: 8081}\nsource: false\n")
    return path


def test_a_show_that_can_open(file: Path) -> None:
    lines: list[str] = []
    assert examine_show(str(file), [], plays=False, print_line=lines.append) == 0
    titles = [line.strip() for line in lines if line.startswith("\n")]
    assert titles[:-1] == ["show", "machine", "disks", "ports", "outputs", "weights", "sources in sight"]
    assert titles[-1].startswith("mirror is ready to open")


def test_mistakes_end_the_report(file: Path) -> None:
    lines: list[str] = []
    assert examine_show(str(file), ["outptu=1"], plays=True, print_line=lines.append) == 1
    assert lines[0] == "\nshow"
    assert len(lines) == 3
    assert "is not ready to open: show: --set outptu" in lines[-1]


def test_a_show_that_plays_now_is_asked_and_not_copied(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"show": "mirror", "output_fps": 30.0, "fps": 9.0, "engine": "rendering", "source": "testcard: running"}
    monkeypatch.setattr(report, "read_health", lambda host, port: {"status": status})
    lines: list[str] = []
    assert examine_show(str(file), [], plays=True, print_line=lines.append) == 0
    assert "\nthe running show" in lines
    assert not any("a copy" in line for line in lines)
    status["alarm"] = "the disk is full"
    assert examine_show(str(file), [], plays=True, print_line=lines.append) == 1
    assert lines[-1] == "\nmirror is not ready to open: alarm: the disk is full"


def test_another_show_at_its_port_is_not_this_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "read_health", lambda host, port: {"status": {"show": "demo"}})
    lines: list[str] = []
    examine_show(str(file), [], plays=False, print_line=lines.append)
    assert "\nsources in sight" in lines


def test_as_it_is_typed(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda show: ["the machine"])
    monkeypatch.setattr(parts, "probe_source", lambda name, config: {"frames": 0, "in_sight": [], "error": ""})
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "the machine\n"
    assert main(["doctor", str(file), "--no-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "mirror is ready to open"
    assert main(["doctor", str(file), "--no-run", "--set", "source={transport: memory, name: gone}"]) == 1
    assert "source: memory gone sends nothing" in capsys.readouterr().out.splitlines()[-1]
    assert main(["doctor", "no-such-show"]) == 2
    out = capsys.readouterr()
    assert (out.out, "no such file" in out.err) == ("", True), "a wrong name is told at once"
