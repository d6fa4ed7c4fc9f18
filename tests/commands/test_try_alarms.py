"""`lcm-daemon alarms`: everyone is told once, and what fails has its line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lcm_daemon.cli import main


def run(tmp_path: Path, section: str) -> int:
    (tmp_path / "show.yaml").write_text(f"recipe: passthrough\n{section}\n")
    return main(["alarms", str(tmp_path / "show.yaml")])


def test_a_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = f"[{sys.executable}, -c, 'import sys; sys.exit(b\"trial\" not in sys.stdin.buffer.read())']"
    assert run(tmp_path, f"alarms: {{osc: '127.0.0.1:9', command: {python}}}") == 0
    assert run(tmp_path, "alarms: {command: [/no/such/program], osc: 'no.such.host.invalid:9'}") == 1
    assert run(tmp_path, "") == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == ["osc 127.0.0.1:9: sent; UDP does not confirm it",
                                f"command {Path(sys.executable).name}: notified"]
    assert err.splitlines()[0].startswith("osc no.such.host.invalid:9: could not be notified: ")
    assert err.splitlines()[1].startswith("command program: could not be notified: it cannot be started")
    assert "names no receiver" in err.splitlines()[2]
