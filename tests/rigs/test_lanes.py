"""Test of the scheduler of `pytest -n`: a worker that dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests.rigs.lanes import Lanes, report_death
def pytest_xdist_make_scheduler(config, log):
    return Lanes(config, log, lambda nodeid: True)
def pytest_handlecrashitem(crashitem, report, sched):
    print(report_death(crashitem, report, sched))
"""
FATAL = """
import os, pathlib
def test_before(): pass
def test_fatal():
    count = pathlib.Path(r"{folder}") / "count"
    deaths = len(count.read_text()) if count.exists() else 0
    count.write_text("x" * (deaths + 1))
    if deaths < {deaths}: os._exit(9)
def test_after(): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(("deaths", "code", "summary"), [(1, 0, "6 passed, 1 rerun"), (9, 1, "1 failed, 5 passed")])
def test_a_test_whose_worker_died_is_tried_once_more(
    deaths: int, code: int, summary: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_0.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    (tmp_path / "test_1.py").write_text(FATAL.format(folder=tmp_path, deaths=deaths))
    (tmp_path / "test_2.py").write_text("def test_last(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", tmp_path,
         tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert summary in done.stdout
    assert "test_fatal: its worker died; it is tried once more" in done.stdout
