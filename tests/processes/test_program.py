"""Programs that a show names: run to their end, or killed with their children."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lcm_daemon.processes.program import ProgramFailed, end_program, run_program
from tests.rigs.daemon import wait_for


def test_its_variables_and_its_input(tmp_path: Path) -> None:
    script = f"import os, sys; open({str(tmp_path / 'note')!r}, 'w').write(os.environ['WHAT'] + sys.stdin.read())"
    run_program([sys.executable, "-c", script], {"WHAT": "open "}, 20.0, "and more")
    assert (tmp_path / "note").read_text() == "open and more"


@pytest.mark.parametrize(("words", "reason"), [
    (["/no/such/program"], "it cannot be started: No such file or directory"), (["a\0b"], "it cannot be started"),
    ([sys.executable, "-c", "raise SystemExit(7)"], "exit code 7"),
])
def test_failures(words: list[str], reason: str) -> None:
    with pytest.raises(ProgramFailed, match=reason):
        run_program(words, {}, 20.0)


def test_one_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(ProgramFailed, match=r"it did not end within 0\.7 s"):
        run_program([sys.executable, "-c", script], {}, 0.7)
    if note.exists():
        wait_for(lambda: not psutil.pid_exists(int(note.read_text())), 10, "the end of the child")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that a program could ignore")
@pytest.mark.parametrize(("code", "expected"), [
    ("", -15), ("signal.signal(signal.SIGTERM, signal.SIG_IGN); ", -9)])  # SIGTERM, SIGKILL
def test_a_program_ends_in_order_or_is_killed(code: str, expected: int) -> None:
    text = f"import signal, time; {code}print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end_program(process, 10 if not code else 0.1)
        assert process.returncode == expected
