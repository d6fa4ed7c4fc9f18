"""A journal: what it holds after a kill, after a power cut, and on a full disk."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.core import journal as journals
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.journal import Journal, JournalContent, previous_of, read_journal
from tests.rigs.daemon import wait_for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.journal"


def written(path: Path, *states: dict[str, Any], end: str = "") -> JournalContent:
    journal = Journal(path, "the state")
    for state in states:
        journal.write(state)
        wait_for(lambda state=state: path.exists() and journal._written is state, what="a write")
    if end:
        journal.end(end)
    journal.close()
    return read_journal(path)


def test_what_changes_is_appended_and_read_back(path: Path) -> None:
    states = [{"a": 1, "b": "ö"}, {"a": 2, "b": "ö"}, {"a": 2}, {"a": 2, "c": [1, {"d": None}]}]
    assert written(path, *states) == JournalContent(states[-1])
    lines = path.read_text("utf-8").splitlines()
    assert [line[9:] for line in lines[1:]] == ['{"set":{"a":2}}', '{"gone":["b"]}', '{"set":{"c":[1,{"d":null}]}}']
    assert written(path, {"a": 9}, end="shut down") == JournalContent({"a": 9}, "shut down")
    assert read_journal(previous_of(path)) == JournalContent(states[-1])


def test_the_newest_state_is_written_at_once_and_others_are_left_out(path: Path) -> None:
    journal = Journal(path, "the state")
    for number in range(10_000):
        journal.write({"number": number})
    wait_for(lambda: path.exists() and read_journal(path).state == {"number": 9999}, 2.0, "the newest")
    journal.close()


def test_a_long_journal_begins_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_BYTES", 2000)
    states = [{"number": number, "text": "x" * 100} for number in range(100)]
    assert written(path, *states) == JournalContent(states[-1])
    assert path.stat().st_size < 2500
    assert read_journal(previous_of(path)).state["text"] == "x" * 100


def test_a_record_after_a_damaged_one_is_not_believed(path: Path) -> None:
    written(path, {"a": 1}, {"a": 2}, {"a": 3})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-3] + b"\n" + lines[2])
    assert read_journal(path) == JournalContent({"a": 1}, torn=True)
    path.write_bytes(lines[0] + lines[0])  # a first record in the middle
    assert read_journal(path) == JournalContent({"a": 1}, torn=True)
    path.write_bytes(lines[1])
    with pytest.raises(LcmDaemonError, match="its first record is damaged"):
        read_journal(path)


def test_a_full_disk_is_told_once_and_nothing_that_was_saved_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journals, "RETRY_SECONDS", 0.05)
    full, write = threading.Event(), os.write

    def torn_write(file: int, data: bytes) -> int:
        return write(file, data[: len(data) // 2]) if full.is_set() else write(file, data)

    def write_atomically(*args: Any, **kwargs: Any) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args, **kwargs)

    real = journals.write_atomically
    monkeypatch.setattr(journals.os, "write", torn_write)
    monkeypatch.setattr(journals, "write_atomically", write_atomically)
    journal = Journal(path, "the state")
    journal.write({"a": 1})
    wait_for(path.exists, what="the first record")
    full.set()
    journal.write({"a": 2})
    wait_for(lambda: journal.trouble, what="the failure")
    assert "the state cannot be saved" in journal.trouble
    journal.write({"a": 3})
    assert read_journal(path).state == {"a": 1}
    full.clear()
    wait_for(lambda: read_journal(path).state == {"a": 3}, what="the next try")
    journal.close()
    assert journal.trouble == ""
    assert caplog.text.count("cannot be saved") == 1


class Disk:
    """Records what reaches the disk, and when: what is written but not forced there is lost in a power cut.

    Only this journal's calls are seen: opening, writing, forcing a file or a folder to the disk, and renaming.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.safe: list[tuple[float, dict[str, bytes]]] = []  # the folder as a power cut would leave it, since when
        self._contents: dict[int, bytes] = {}  # by inode: what was forced to the disk
        fsync, replace = os.fsync, os.replace
        self._names: dict[str, int] = {}

        def on_fsync(file: int) -> None:
            fsync(file)
            found = os.fstat(file)
            if os.path.isdir(f"/proc/self/fd/{file}"):
                self._names = {entry.name: entry.inode() for entry in os.scandir(folder)}
            else:
                with open(f"/proc/self/fd/{file}", "rb") as opened:
                    self._contents[found.st_ino] = opened.read()
            self._note()

        def on_replace(one: Any, other: Any) -> None:
            replace(one, other)

        monkeypatch.setattr("os.fsync", on_fsync)
        monkeypatch.setattr("os.replace", on_replace)

    def _note(self) -> None:
        self.safe.append((time.monotonic(), {
            name: self._contents.get(number, b"") for name, number in self._names.items()}))

    def after_cut(self, at: float) -> dict[str, bytes]:
        """The files after a power cut at a time (monotonic seconds)."""
        return next((files for since, files in reversed(self.safe) if since <= at), {})


@pytest.fixture
def disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("reads files through /proc")
    return Disk(path.parent, monkeypatch)


@pytest.mark.slow
def test_a_power_cut_loses_a_quarter_of_a_second_at_most(
    path: Path, disk: Disk, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_BYTES", 3000)  # new files come in between
    journal, accepted = Journal(path, "the state"), list[float]()
    begun = time.monotonic()
    while time.monotonic() < begun + 3.0:
        accepted.append(time.monotonic())
        journal.write({"number": len(accepted) - 1, "text": "x" * 20})
        time.sleep(0.005)
    journal.close()
    after, chance = tmp_path_factory.mktemp("after"), random.Random(1)
    pauses = [later - earlier for (earlier, _), (later, _) in zip(disk.safe, disk.safe[1:], strict=False)]
    assert len(pauses) < 3.0 / journals.SYNC_SECONDS * 6, "forced to the disk too often"
    for _ in range(200):
        cut = chance.uniform(begun + 0.3, begun + 3.0)
        for old in after.iterdir():
            old.unlink()
        for name, content in disk.after_cut(cut).items():
            (after / name).write_bytes(content)
        found = _newest(after / path.name)
        age = cut - accepted[found + 1]
        assert age < 0.25, f"lost what was accepted {age:.3f} s before"


def _newest(path: Path) -> int:
    for each in (path, previous_of(path)):
        try:
            return int(read_journal(each).state["number"])
        except (OSError, LcmDaemonError):
            continue
    raise AssertionError("no journal can be read")


def test_unusual_files_are_told_from_journals(tmp_path: Path) -> None:
    cases: dict[str, Callable[[Path], object]] = {
        "it is a folder": lambda path: path.mkdir(),
        "its first record is damaged": lambda path: path.write_bytes(b"{}\n"),
    }
    for number, (text, make) in enumerate(cases.items()):
        make(tmp_path / str(number))
        with pytest.raises(LcmDaemonError, match=text):
            read_journal(tmp_path / str(number))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is not a file"):
        read_journal(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_journal(tmp_path / "gone")
