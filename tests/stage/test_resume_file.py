"""The look of a run that was interrupted: what comes back, and what never does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lcm_daemon.automation.look import Look
from lcm_daemon.core.journal import previous_of, read_journal
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.stage.resume_file import HARMLESS_AFTER, STARTS, ResumeFile
from tests.rigs.daemon import wait_for

STORM = Look("builtin", (256, 192), "storm", {"strength": 0.4, "prompt": "ocean — deep", "seed": 2**32 - 1})
PLAIN = Look("builtin", (256, 256))


def begin(folder: Path) -> tuple[ResumeFile, Look | None]:
    file = ResumeFile(folder / "mirror.yaml", folder / "state")
    found = file.restore()
    file.on_open(1000.0)
    return file, found


def run(folder: Path, *looks: Look, seconds: float = 0.0, end: str = "cut") -> Look | None:
    """One run of a show that has these looks, the first at once, the others `seconds` apart.

    end: "cut" (nothing is written any more), "ctrl-c", "sigterm" or "failed".
    """
    file, found = begin(folder)
    for number, look in enumerate(looks):
        file.write(look, 1000.0 + number * seconds)
    if end in ("ctrl-c", "sigterm"):
        file.end(keeps_look=end == "sigterm")
    if end == "cut":
        file._is_ended = True  # else `close` writes how the run ended
    file.close()
    return found


def journal(folder: Path) -> Path:
    return next((folder / "state").glob("*.journal"))


def crash(folder: Path) -> None:
    """Let the last run have crashed: what the fault handler would have written."""
    journal(folder).with_suffix(".crash").write_text("Fatal Python error: Segmentation fault\n\nThread 0x1\n")


def test_an_interrupted_run_leaves_its_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert run(tmp_path, PLAIN, STORM) is None
    assert run(tmp_path) == STORM
    assert "the last run was interrupted; restoring builtin, cue 'storm', strength, prompt, seed" in caplog.text


def test_ctrl_c_forgets_and_a_shutdown_keeps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run(tmp_path, STORM, end="sigterm")
    assert run(tmp_path, STORM, end="ctrl-c") == STORM
    assert "the last run was shut down; restoring" in caplog.text
    assert run(tmp_path) is None
    assert read_journal(journal(tmp_path)).state["cue"] == "storm", "forgotten, not deleted"


def test_source_guide_and_modulators_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    look = Look("builtin", (256, 256), source="wide", guide="ndi CAM 1", modulators=[{"name": "a", "to": "mix"}])
    run(tmp_path, look)
    assert run(tmp_path) == look
    assert "restoring builtin, source 'wide', guide 'ndi CAM 1'" in caplog.text


def test_a_file_of_version_0_1_is_read(tmp_path: Path) -> None:
    run(tmp_path, PLAIN)
    path = journal(tmp_path)
    for each in (path, previous_of(path)):
        each.unlink(missing_ok=True)
    old = {"recipe": "builtin", "size": [256, 192], "cue": "storm", "minute": "21:30", "values": dict(STORM.values),
           "tries": 1}
    path.with_suffix(".json").write_text(json.dumps(old))
    assert run(tmp_path) == Look("builtin", (256, 192), "storm", STORM.values)


def test_a_held_picture_and_a_blackout_are_not_restored(tmp_path: Path) -> None:
    run(tmp_path, Look("builtin", (256, 256), values={"freeze": True, "blackout": True, "mix": 0.5}))
    assert run(tmp_path) == Look("builtin", (256, 256), values={"mix": 0.5})


@pytest.mark.parametrize("way", ["cut", "sigterm"])
def test_any_number_of_power_cuts_and_shutdowns_loses_nothing(tmp_path: Path, way: str) -> None:
    run(tmp_path, STORM, end=way)
    for _ in range(5 * STARTS):
        assert run(tmp_path, STORM, end=way) == STORM


@pytest.mark.parametrize("way", ["failed", "signal"])
def test_runs_that_crash_at_once_do_not_go_on_for_ever(
    tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*looks: Look) -> Look | None:
        found = run(tmp_path, *looks, end="failed" if way == "failed" else "cut")
        if way == "signal":
            crash(tmp_path)
        return found

    broken(STORM)
    for _ in range(STARTS):
        assert broken(STORM) == STORM
    file, found = begin(tmp_path)
    assert found is None
    assert f"the last {STARTS} runs crashed soon after their start" in caplog.text
    assert f"the last {STARTS} runs crashed" in file.trouble
    assert read_journal(next((tmp_path / "state").glob("*.aside"))).state["cue"] == "storm", "kept, not deleted"
    if way == "signal":
        assert "the last run crashed: Fatal Python error: Segmentation fault" in caplog.text
        assert "Thread 0x1" in next((tmp_path / "state").glob("*.crash.last")).read_text()
    file.write(PLAIN, 1000.0)
    file.end(keeps_look=True)
    file.close()
    assert run(tmp_path) == PLAIN


def test_crashes_of_another_boot_and_of_long_runs_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, STORM, end="failed")
    for _ in range(STARTS + 2):
        changed = Look(STORM.recipe, STORM.size, STORM.cue, {**STORM.values, "mix": 0.5})
        assert run(tmp_path, STORM, changed, STORM, seconds=HARMLESS_AFTER, end="failed") == STORM
    for boot in range(STARTS + 2):
        monkeypatch.setattr("lcm_daemon.stage.resume_file.boot_id", lambda boot=boot: str(boot))
        assert run(tmp_path, STORM, end="failed") == STORM


def test_a_start_that_never_opened_changes_nothing(tmp_path: Path) -> None:
    """A port that is held, or an address that is not up yet at boot: the state must survive any number of these."""
    run(tmp_path, STORM)
    for _ in range(2 * STARTS):
        file = ResumeFile(tmp_path / "mirror.yaml", tmp_path / "state")
        assert file.restore() == STORM
        file.close()
    assert run(tmp_path) == STORM


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    file, _ = begin(tmp_path)
    for beat in range(100):
        file.write(Look("builtin", (256, 256), values={"seed": beat // 50}), 1000.0 + beat)
    file._is_ended = True
    file.close()
    assert len(journal(tmp_path).read_text().splitlines()) <= 2


def test_only_this_user_can_read_the_state(tmp_path: Path) -> None:
    for _ in range(2):
        run(tmp_path, STORM)
    modes = {path.name.partition(".")[2]: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert {"journal", "journal.previous", "lock"} <= modes.keys()


def test_a_show_that_runs_twice_keeps_the_look_of_the_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first, _ = begin(tmp_path)
    first.write(STORM, 0.0)
    assert run(tmp_path, Look("builtin", (64, 64)), end="ctrl-c") is None
    assert "another run of this show uses it" in caplog.text
    first.end(keeps_look=True)
    first.close()
    assert run(tmp_path) == STORM


def test_two_shows_of_one_name_do_not_meet(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        ResumeFile(tmp_path / folder / "mirror.yaml", tmp_path / "state").close()
    assert len(list((tmp_path / "state").glob("mirror-*.lock"))) == 2


def _as_folder(path: Path) -> None:
    path.mkdir()


def _as_pipe(path: Path) -> None:
    os.mkfifo(path)


def _as(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _with_wrong_time(path: Path) -> None:
    """A record with a right checksum and a wrong value."""
    from lcm_daemon.core.journal import _line

    path.write_bytes(_line({"state": {**PLAIN.flat(), "scheduled": "21;29"}}))


@pytest.mark.parametrize("damage", [
    _as_folder, _as_pipe, _with_wrong_time, _as(b""), _as(b"7\n"), _as(b"[" * 5000 + b"\n"), _as(b"\xff\x00" * 99),
    _as(b'00000000 {"state": {}}\n'),
])
def test_of_a_damaged_file_the_one_before_counts(
    tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, STORM)
    run(tmp_path, PLAIN)
    path = journal(tmp_path)
    path.unlink()
    damage(path)
    file, found = begin(tmp_path)
    assert found == STORM
    assert caplog.text.count("it cannot be read") == 1
    assert f"it is kept as {path.stem}.bad" in caplog.text
    assert "cannot be read" in file.trouble
    assert path.with_suffix(".bad").exists()
    file.close()


def test_every_torn_end_gives_the_last_whole_look(tmp_path: Path) -> None:
    """A journal that ends at any byte."""
    looks = [PLAIN, STORM, Look("sd-turbo", (512, 512), values={"prompt": "a"})]
    file, _ = begin(tmp_path)
    path = file._path
    assert path is not None
    for number, look in enumerate(looks):
        file.write(look, 1000.0)
        wait_for(lambda number=number: path.exists() and path.read_bytes().count(b"\n") > number, what="the record")
    file._is_ended = True
    file.close()
    content = path.read_bytes()
    ends = [number + 1 for number, byte in enumerate(content) if byte == 10]
    for cut in range(ends[0], len(content) + 1):
        path.write_bytes(content[:cut])
        again = ResumeFile(tmp_path / "mirror.yaml", tmp_path / "state")
        assert again.restore() == looks[sum(end <= cut for end in ends) - 1]
        again.close()


def test_one_changed_byte_is_never_believed(tmp_path: Path) -> None:
    run(tmp_path, STORM)
    path, before = journal(tmp_path), journal(tmp_path).read_bytes()
    for at in range(0, len(before), 3):
        path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1:])
        file = ResumeFile(tmp_path / "mirror.yaml", tmp_path / "state")
        assert file.restore() is None
        file.close()
        for aside in (tmp_path / "state").glob("*.bad*"):
            aside.unlink()


def test_a_folder_that_cannot_be_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, STORM)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert run(tmp_path, PLAIN) == STORM
    assert "cannot be written: Permission denied; this run's state is not kept" in caplog.text


def test_without_a_show_or_a_folder_nothing_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    for file in (ResumeFile(), ResumeFile(tmp_path / "mirror.yaml", tmp_path / "file")):
        assert file.restore() is None
        file.write(STORM, 0.0)
        file.end(keeps_look=True)
        file.close()
    assert caplog.text.count("this run's state is not kept") == 1


def test_a_recipe_comes_back_in_its_size_and_one_that_has_gone_does_not() -> None:
    builtin, other = load_recipe("builtin"), load_recipe("sd-turbo")
    assert STORM.recipe_to_start({"builtin": builtin}, other).size == (256, 192)
    assert STORM.recipe_to_start({"sd-turbo": other}, other) is other


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "crashed"), [
    (signal.SIGSEGV, True), (signal.SIGABRT, True), (signal.SIGKILL, False),
])
def test_a_crash_is_told_from_a_kill(
    tmp_path: Path, number: int, crashed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    code = f"""
import os, pathlib
from lcm_daemon.automation.look import Look
from lcm_daemon.stage.resume_file import ResumeFile
folder = pathlib.Path({str(tmp_path)!r})
file = ResumeFile(folder / "mirror.yaml", folder / "state")
file.on_open(0.0)
file.write(Look("builtin", (256, 256), values={{"mix": 0.5}}), 0.0)
while not list((folder / "state").glob("*.journal")):
    pass
os.kill(os.getpid(), {int(number)})
"""
    subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)
    assert run(tmp_path) == Look("builtin", (256, 256), values={"mix": 0.5})
    assert ("the last run crashed" in caplog.text) is crashed
