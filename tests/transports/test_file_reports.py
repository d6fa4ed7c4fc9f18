"""The log says each thing about a file once in a run, whichever sources play it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.transports.file_reports import FileReports


def test_damage_is_logged_once_until_the_file_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, other, reports = tmp_path / "clip.mkv", tmp_path / "other.mkv", FileReports()
    for size in (1, 2):
        path.write_bytes(b"x" * size)
        for _ in range(3):
            reports.damage(path, f"clip of {size}")
    path.unlink()
    for _ in range(3):
        reports.damage(path, "no clip")
        reports.damage(other, "another that was never there")
    assert caplog.messages == ["clip of 1", "clip of 2", "no clip", "another that was never there"]


def test_a_note_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    reports = FileReports()
    for text in ("is PQ", "is PQ", "is HLG"):
        reports.note(text)
    assert caplog.messages == ["is PQ", "is HLG"]
