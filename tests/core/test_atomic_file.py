"""Files that are replaced in one step, and written on their own thread."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from lcm_daemon.core.atomic_file import AtomicFile, write_atomically


def test_only_the_newest_waiting_write_is_done(tmp_path: Path) -> None:
    file, go, composed = AtomicFile(tmp_path / "a.json", "the look"), threading.Event(), []

    def compose(text: str) -> str:
        go.wait(10)
        composed.append(text)
        return text

    for number in range(50):
        file.write(lambda number=number: compose(str(number)))  # type: ignore[misc]
    go.set()
    file.close()
    assert (tmp_path / "a.json").read_text() == "49"
    assert len(composed) <= 2  # the one that had begun, and the newest
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_backup_keeps_the_previous_content(tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        write_atomically(tmp_path / "a.json", text, tmp_path / "a.old", private=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "three", "a.old": "two"}
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_a_failed_write_is_logged_once_until_one_succeeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    folder.touch()

    def write(text: str) -> None:
        file.write(lambda: text)
        file._thread.submit(int).result()

    file = AtomicFile(folder / "a.json", "the look")
    write("one")
    write("two")
    assert caplog.text.count("the look cannot be saved") == 1
    folder.unlink()
    write("three")
    assert (folder / "a.json").read_text() == "three"
    (folder / "a.json").unlink()
    folder.rmdir()
    folder.touch()
    write("four")
    assert caplog.text.count("the look cannot be saved") == 2
    file.close()


def test_a_file_is_replaced_in_one_step_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.yaml"
    write_atomically(path, "one\r\n")
    path.chmod(0o600)
    write_atomically(path, b"two\n", backup=path.with_suffix(".old"))
    assert (path.read_bytes(), path.with_suffix(".old").read_bytes()) == (b"two\n", b"one\r\n")
    assert path.stat().st_mode & 0o777 == 0o600
    copy = tmp_path / "copy.yaml"
    write_atomically(copy, "three", model=path)
    assert copy.stat().st_mode & 0o777 == 0o600, "a copy of a private file is private"
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.skipif(os.name != "posix", reason="other systems have other permissions")
def test_nobody_else_reads_a_private_file_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.yaml", list[os.stat_result]()
    path.write_text("one")
    path.chmod(0o600)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "a.yaml.new").symlink_to(elsewhere)
    monkeypatch.setattr("os.fsync", lambda number: seen.append(os.fstat(number)))
    write_atomically(path, "two")
    assert (path.read_text(), elsewhere.exists()) == ("two", False)
    assert [found.st_mode & 0o777 for found in seen if stat.S_ISREG(found.st_mode)] == [0o600]
    assert stat.S_ISDIR(seen[-1].st_mode), "the new name is forced to the disk too"


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    write_atomically(path, "one")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "two")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.yaml", "one")]
