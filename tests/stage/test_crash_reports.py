"""Which processes are reported, and how many reports are kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.processes.ends import End
from lcm_daemon.shows.crash_options import CrashReportOptions
from lcm_daemon.stage import crash_reports
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.crash_reports import EXIT_SECONDS, FOLDER, MOST_SAME, CrashReports
from tests.conftest import ManualClock


class Show:
    """A stage of which only what a report asks for exists."""

    def __init__(self, folder: Path, keep: int = 20) -> None:
        self.clock = ManualClock()
        texts = {name: Parameter(name, "text", "", "") for name in ("prompt", "prompt_b")}
        numbers = {"strength": Parameter("strength", "float", 0.5, "")}
        self.stage: Any = SimpleNamespace(
            clock=self.clock, desk=SimpleNamespace(on_end=None), alarms=Alarms(), ticks=30, values={},
            engines=SimpleNamespace(players=SimpleNamespace(on_end=None)), parameters=SimpleNamespace(
                table={**texts, **numbers}), show=SimpleNamespace(name="mirror", prompts=("bank",)),
            audience=SimpleNamespace(report_ends=lambda call: None, texts=lambda: ["of a visitor"]))
        self.folder = folder / FOLDER
        self.reports = CrashReports(self.stage, CrashReportOptions(keep), folder / "mirror-1.recent.log")

    def end(self, pid: int, text: str = "died", code: int | None = -11) -> Any:
        """An engine fails. Returns its process, whose exit code may come later."""
        process = SimpleNamespace(pid=pid, exitcode=code)
        self.stage.desk.on_end(End("engine", SimpleNamespace(process=process), "died", text, {"recipe": "x"}))
        self.reports.step(self.clock.now())
        return process

    def written(self) -> list[str]:
        self.reports.stop()
        return [file.read_text() for file in sorted(self.folder.glob("*.txt"))] if self.folder.exists() else []


def test_a_report_waits_for_the_exit_code(tmp_path: Path) -> None:
    show = Show(tmp_path)
    process = show.end(7, code=None)
    assert show.reports._waiting.empty()
    process.exitcode = -9
    show.reports.step(show.clock.now())
    (text,) = show.written()
    assert "engine 7" in text
    assert "signal SIGKILL" in text
    assert "recipe             x" in text


def test_a_report_does_not_wait_for_ever(tmp_path: Path) -> None:
    show = Show(tmp_path)
    show.end(7, code=None)
    show.clock.time += EXIT_SECONDS
    show.reports.step(show.clock.now())
    assert "it has not ended yet" in show.written()[0]


def test_a_crash_loop_does_not_push_other_reports_out(tmp_path: Path) -> None:
    show = Show(tmp_path)
    for pid in range(10):
        show.end(pid, "died")
    show.end(99, "KeyError: 'unet'")
    assert len(show.written()) == MOST_SAME + 1


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    show = Show(tmp_path, keep=2)
    (tmp_path / FOLDER).mkdir()
    other = tmp_path / FOLDER / "20260101-000000-another-2-engine-1.txt"
    other.write_text("of another show")
    for pid in range(3):
        show.end(pid, f"error {pid}")
    texts = show.written()
    assert len(texts) == 3
    assert other.exists()


def test_texts_that_play_or_have_played_are_private(tmp_path: Path) -> None:
    show = Show(tmp_path)
    show.stage.values = {"prompt": Blend((("first text", 0.5), ("second text", 0.5))), "strength": 0.7, "mode": "image"}
    show.reports.step(0.0)
    show.stage.values = {"prompt": "third text", "strength": 0.7, "mode": "image"}
    show.reports.step(0.0)
    process = SimpleNamespace(pid=7, exitcode=1)
    crash = show.reports._crash(End("engine", SimpleNamespace(process=process), "error", "x"), 0.0)
    assert crash.private is not None
    assert {"first text", "second text", "third text", "bank", "of a visitor"} <= set(crash.private)
    assert "image" not in crash.private
    assert "strength 0.7" in crash.facts["numbers"]


def test_a_folder_that_cannot_be_written_is_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    show = Show(tmp_path)
    (tmp_path / FOLDER).write_text("a file in the folder's place")
    show.end(7)
    show.reports.stop()
    assert "the report of the engine 7 cannot be written" in caplog.text
    assert crash_reports.log.name in caplog.text
