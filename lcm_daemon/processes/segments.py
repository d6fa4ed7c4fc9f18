"""Blocks of shared memory that do not stay when every process that uses them is killed.

The system removes such a block only when its owner asks for it. Python's resource tracker asks for an owner that was
killed, but it is killed too when a whole process group is. On Linux a block is a file in /dev/shm: its owner keeps a
lock on it, which the system releases with the process, and `sweep` removes the blocks without a lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = Path("/dev/shm")  # of Linux
PREFIX = "lcmd-"  # macOS allows 31 characters in all
YOUNG_SECONDS = 10.0  # a block of this age may not be locked yet


class OwnedSegment:
    """A new block of shared memory. size: In bytes. Raises OSError."""

    def __init__(self, size: int) -> None:
        self.memory = SharedMemory(f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}", create=True, size=size)
        self._lock: int | None = None
        if sys.platform == "linux":
            import fcntl

            with contextlib.suppress(OSError):  # without a lock it is removed by `sweep` of another run at worst
                self._lock = os.open(FOLDER / self.memory.name, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(self._lock, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Remove it from the system. What has mapped it keeps it."""
        with contextlib.suppress(FileNotFoundError):
            self.memory.unlink()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(folder: Path = FOLDER, young: float = YOUNG_SECONDS) -> int:
    """Remove the blocks of this user whose owners are gone; return their size in bytes. Linux only.

    Args:
        folder: Where the blocks are.
        young: Age in seconds from which a block without a lock counts as left behind.
    """
    if sys.platform != "linux":
        return 0
    found = 0
    with contextlib.suppress(OSError):
        found = sum(map(_removed, (path for path in folder.glob(f"{PREFIX}*") if _is_old(path, young))))
    if found:
        log.info("shared memory: removed %d MiB that a killed run left behind", found >> 20)
    return found


def _is_old(path: Path, young: float) -> bool:
    with contextlib.suppress(OSError):
        status = path.lstat()
        return status.st_uid == os.getuid() and time.time() - status.st_ctime >= young
    return False


def _removed(path: Path) -> int:
    """Remove a block unless it is locked; return its size in bytes if it was removed."""
    import fcntl

    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its owner lives
            path.unlink()
            return os.fstat(file).st_size
        finally:
            os.close(file)
    return 0
