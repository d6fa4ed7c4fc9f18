"""Disks that are nearly full, read-only or gone raise an alarm."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.background_poll import BackgroundPoll
from lcm_daemon.stage.disk_watch import MIB, Disk, DiskWatch, existing, look_at, written_folders
from tests.conftest import ManualClock
from tests.rigs.daemon import wait_for

GOOD = Disk(100_000 * MIB, 1_000_000, True)


def alarm(disk: Disk | OSError, folder: Path) -> str:
    """What is said of a folder on such a disk."""
    alarms = Alarms()

    def look(path: Path) -> Disk:
        if path != folder:
            return GOOD  # /dev/shm
        if isinstance(disk, OSError):
            raise disk
        return disk

    watch = DiskWatch({"the state": folder}, 500 * MIB, alarms, look)
    watch._disks.start = lambda: None  # type: ignore[method-assign]
    watch._disks.answer = watch._ask()
    watch.step(0.0)
    return alarms.describe()


@pytest.mark.parametrize(("disk", "said"), [
    (GOOD, ""), (Disk(500 * MIB, -1, True), ""),
    (Disk(499 * MIB, 5000, True), "the disk of {} (the state) has less than 500 MiB left"),
    (Disk(9000 * MIB, 5000, False), "the disk of {} (the state) is read-only"),
    (Disk(9000 * MIB, 3, True), "the disk of {} (the state) has no room for more files, although it has free space"),
    (OSError(5, "Input/output error"), "the disk of {} (the state) cannot be read: Input/output error"),
])
def test_what_is_said_of_a_disk(disk: Disk | OSError, said: str, tmp_path: Path) -> None:
    assert alarm(disk, tmp_path) == said.format(tmp_path)


def test_the_folders_of_a_show(tmp_path: Path) -> None:
    (tmp_path / "show.yaml").write_text("{sinks: [{transport: record, path: 'takes/{date}/a.mp4'}]}")
    found = written_folders(load_show(tmp_path / "show.yaml", environment={}))
    assert found["the recordings"] == tmp_path / "takes" / "{date}"
    assert found["the looks"] == tmp_path
    assert existing(found["the recordings"]) == tmp_path
    assert look_at(tmp_path).free > 0
    (tmp_path / "show.yaml").write_text(
        "{sinks: [{transport: record, path: a/1.mp4}, {transport: record, path: b/1.mp4}]}")
    found = written_folders(load_show(tmp_path / "show.yaml", environment={}))
    assert {tmp_path / "a", tmp_path / "b"} < set(found.values())


def test_a_disk_that_does_not_answer_is_reported_and_does_not_hold_up_the_tick(tmp_path: Path) -> None:
    release, asked, alarms = threading.Event(), threading.Event(), Alarms()

    def look(folder: Path) -> Disk:
        asked.set()
        release.wait(10)
        return GOOD

    watch, clock = DiskWatch({"the log": tmp_path}, MIB, alarms, look), ManualClock()
    watch._disks._clock = clock
    watch.step(clock.now())
    assert asked.wait(5)
    watch.step(clock.now() + 29.0)
    assert alarms.describe() == ""
    watch.step(clock.now() + 30.0)
    assert alarms.describe() == f"the disk of {tmp_path} (the log) does not answer"
    release.set()
    wait_for(lambda: watch.status())
    watch.step(clock.now() + 31.0)
    assert alarms.describe() == ""
    watch.stop()


def test_a_poll_goes_on_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([ValueError("no"), ValueError("no"), 7])

    def ask() -> int | None:
        answer = next(answers, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    poll = BackgroundPoll("numbers", ask, 0.0)
    poll.start()
    wait_for(lambda: poll._thread is not None and not poll._thread.is_alive())
    assert poll.answer == 7
    assert len(caplog.messages) == 1, "the same error is logged once"
