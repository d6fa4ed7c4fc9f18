"""The stacks that a fatal signal leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lcm_daemon.processes.crash_stacks import open_stacks, stacks_file, sweep_stacks, take_stacks

SCRIPT = """
import os, signal, sys
from lcm_daemon.processes.crash_stacks import open_stacks
open_stacks(sys.argv[1])
def in_this_function():
    os.kill(os.getpid(), signal.SIGSEGV)
in_this_function()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill sends no such signal there")
def test_a_segmentation_fault_leaves_stacks_which_are_taken_once(tmp_path: Path) -> None:
    recent = tmp_path / "show.recent.log"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(recent)])
    process.wait(60)
    found = take_stacks(recent, process.pid)
    assert "Segmentation fault" in found
    assert "in_this_function" in found
    assert take_stacks(recent, process.pid) == ""


def test_files_of_processes_that_have_ended_are_removed(tmp_path: Path) -> None:
    recent = tmp_path / "show.recent.log"
    sweep_stacks(recent)  # no folder yet
    own, other = stacks_file(recent, os.getpid()), stacks_file(recent, 2**22 + 1)
    own.parent.mkdir()
    for file in (own, other):
        file.write_text("")
    sweep_stacks(recent)
    assert own.exists()
    assert not other.exists()


def test_without_a_file_of_recent_lines_nothing_is_opened() -> None:
    open_stacks("")
