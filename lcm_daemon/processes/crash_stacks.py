"""The stacks of a child's threads at a fatal signal, such as a segmentation fault, in a file for the crash report."""

from __future__ import annotations

import contextlib
import faulthandler
import os
from pathlib import Path

MOST_BYTES = 64_000  # of a file that is read
_FOLDER = "stacks"  # beside the file of recent lines


def stacks_file(recent: Path, pid: int) -> Path:
    """The file of a process. recent: The daemon's file of recent lines."""
    return recent.parent / _FOLDER / str(pid)


def open_stacks(recent: str) -> None:
    """Let a fatal signal write the stacks of this process to its file. recent: As above; "" opens none."""
    if not recent:
        return
    path = stacks_file(Path(recent), os.getpid())
    with contextlib.suppress(OSError):  # a report without stacks is better than no process
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # never closed: it serves until the end
        faulthandler.enable(number)


def take_stacks(recent: Path, pid: int) -> str:
    """What a process that has ended left; "" for nothing. Its file is removed."""
    path = stacks_file(recent, pid)
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES).decode("utf-8", "replace")
        path.unlink()
    except OSError:
        return ""
    return found.strip()


def sweep_stacks(recent: Path) -> None:
    """Remove the files of processes that have ended."""
    import psutil  # children do not need it

    with contextlib.suppress(OSError):
        for path in stacks_file(recent, 0).parent.iterdir():
            if path.name.isdecimal() and not psutil.pid_exists(int(path.name)):
                path.unlink()
