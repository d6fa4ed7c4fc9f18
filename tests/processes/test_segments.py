"""Shared memory of killed processes: it is removed at the next start, and that of others never."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lcm_daemon.processes.segments import FOLDER, PREFIX, OwnedSegment, sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its blocks of shared memory")
KILLED = """
import os, signal
from multiprocessing import resource_tracker
from lcm_daemon.processes.segments import OwnedSegment
owned = OwnedSegment(1 << 20)
print(owned.memory.name, flush=True)
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves_is_removed_and_what_is_in_use_stays(tmp_path: Path) -> None:
    owned = OwnedSegment(1000)
    done = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False)
    left = FOLDER / done.stdout.strip()
    assert left.exists()
    stranger = FOLDER / f"psm_{tmp_path.name}"
    stranger.write_bytes(b"another program's")
    try:
        sweep()
        assert left.exists(), "a young block may not be locked yet"
        assert sweep(young=0.0) >= 1 << 20
        assert not left.exists()
        assert (FOLDER / owned.memory.name).exists()
        assert stranger.exists()
    finally:
        stranger.unlink()
        owned.remove()
        owned.memory.close()
    assert not (FOLDER / owned.memory.name).exists()


def test_links_and_folders_with_such_names_stay(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("precious")
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    (tmp_path / f"{PREFIX}folder").mkdir()
    assert sweep(tmp_path, young=0.0) == 0
    assert target.read_text() == "precious"
    assert (tmp_path / f"{PREFIX}folder").exists()
    assert sweep(tmp_path / "gone", young=0.0) == 0
