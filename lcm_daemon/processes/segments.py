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
import stat
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
        self._lock = _lock(FOLDER / self.memory.name)

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
    found = 0
    with contextlib.suppress(OSError):
        found = sum(_removed(path, young) for path in folder.glob(f"{PREFIX}*"))
    if found:
        log.info("shared memory: removed %.1f MiB that a killed run left behind", found / 2**20)
    return found


if sys.platform == "linux":
    import fcntl

    def _lock(path: Path) -> int | None:
        """Lock a block for as long as the file that is returned stays open; None if it cannot be locked."""
        with contextlib.suppress(OSError):  # without a lock, `sweep` of another run may remove it at worst
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(file, fcntl.LOCK_SH)
            return file
        return None

    def _removed(path: Path, young: float) -> int:
        """Remove a block unless it is locked; return its size in bytes if it was removed."""
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(file)
                is_old = time.time() - status.st_ctime >= young
                if status.st_uid == os.getuid() and is_old and stat.S_ISREG(status.st_mode):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its owner lives
                    path.unlink()
                    return status.st_size
            finally:
                os.close(file)
        return 0

else:

    def _lock(path: Path) -> int | None:
        """Other systems do not list their blocks."""
        return None

    def _removed(path: Path, young: float) -> int:
        return 0
