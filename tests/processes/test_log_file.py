"""The log file: limited in size, whole lines, and nothing that happens to its disk ends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lcm_daemon.processes import log_file
from lcm_daemon.processes.log_file import LogFile


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_full_file_is_renamed_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "show.log"
    file, child = LogFile(path, 20, 2, True), LogFile(path, 20, 2, False)
    for number in range(5):
        file.write(f"line {number} of the stage\n")
        child.flush()
        assert path.exists(), "only one process renames"
        file.flush()
        child.write(f"line {number}\n")
    assert lines(path) == ["line 4"]
    assert lines(tmp_path / "logs" / "show.log.1") == ["line 3", "line 4 of the stage"]
    assert sorted(os.listdir(path.parent)) == ["show.log", "show.log.1", "show.log.2"]
    assert path.stat().st_mode & 0o007 == 0


def test_none_is_kept(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.log", 1, 0, True)
    file.write("one\n")
    file.flush()
    file.write("two\n")
    assert lines(tmp_path / "a.log") == ["two"]
    assert len(os.listdir(tmp_path)) == 1


def test_a_file_that_is_deleted_begins_again(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.log", 100, 1, True)
    file.write("one\n")
    (tmp_path / "a.log").unlink()
    file.write("two\n")
    assert lines(tmp_path / "a.log") == ["two"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_not_a_file_is_trouble_and_is_not_waited_for(tmp_path: Path, make: object) -> None:
    path = tmp_path / "a.log"
    make(path)  # type: ignore[operator]
    file = LogFile(path, 100, 1, True)
    file.write("one\n")
    file.flush()
    assert file.trouble


def test_lines_that_a_full_disk_refused_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LogFile(tmp_path / "a.log", 1000, 1, True)
    monkeypatch.setattr(log_file.os, "write", lambda number, data, write=os.write: write(number, data[:3]))
    file.write("a line that is cut off\n")
    assert "No space left" in file.trouble
    monkeypatch.setattr(log_file.os, "write", lambda number, data: (_ for _ in ()).throw(OSError(28, "full")))
    file.write("lost\n")
    assert file.trouble == "full"
    monkeypatch.undo()
    file.write("whole\n")
    assert file.trouble == ""
    assert lines(tmp_path / "a.log") == ["a l", "(2 log lines could not be written)", "whole"]
