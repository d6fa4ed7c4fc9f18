"""FrameSlots: pictures in shared memory between the stage and one of its children."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels, Size

SLOTS = 3  # one being worked on, one handed over, one spare


class FrameSlots:
    """Pictures in one block of shared memory: `taken[i]` goes to the child, `given[i]` comes back.

    Where there is a guide, `guides[i]` goes to the child beside `taken[i]`.
    """

    def __init__(self, size: Size, guided: bool = False, name: str | None = None) -> None:
        self.size, self.guided = size, guided
        shape = (3 if guided else 2, SLOTS, size[1], size[0], 4)
        self._owner = name is None
        self._memory = _share(int(np.prod(shape))) if name is None else _attach(name)
        pictures: Any = np.ndarray(shape, np.uint8, self._memory.buf)
        self.taken: list[Pixels] = list(pictures[0])
        self.given: list[Pixels] = list(pictures[1])
        self.guides: list[Pixels] = list(pictures[2]) if guided else []

    @property
    def name(self) -> str:
        return self._memory.name

    def close(self) -> None:
        """Let go of the memory; the side that made it also removes it from the system. May be called twice."""
        self.taken, self.given, self.guides = [], [], []
        with contextlib.suppress(BufferError):  # somebody still looks at a slot: the mapping goes with the process
            self._memory.close()
        if self._owner:
            self._owner = False
            with contextlib.suppress(FileNotFoundError):
                self._memory.unlink()


def _share(length: int) -> SharedMemory:
    """New shared memory. Linux gives more than /dev/shm holds, and kills whoever writes to it then: so look first."""
    if sys.platform == "linux":
        room = os.statvfs("/dev/shm")
        if room.f_bavail * room.f_frsize < length:
            need = f"{length >> 20} MiB for pictures do not fit into /dev/shm"
            raise OSError(errno.ENOSPC, f"{need}; a container takes --shm-size")
    return SharedMemory(create=True, size=length)


def _attach(name: str) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    return SharedMemory(name)  # the tracker is shared with the stage, whose unlink clears this entry too
