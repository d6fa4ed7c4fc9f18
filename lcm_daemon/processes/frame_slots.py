"""FrameSlots: frames in shared memory between the stage and one of its children."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels, Size

SLOTS = 3  # one being rendered, one handed over, one spare


class FrameSlots:
    """Frames in one block of shared memory: `inputs[i]` goes to the child, `outputs[i]` comes back.

    Args:
        size: (width, height) of every frame in pixels.
        guided: Whether there are guide frames as well: `guides[i]` goes to the child beside `inputs[i]`.
        name: Name of an existing block. None creates a new one, which this object then owns.

    Raises:
        OSError: The system has no room for the block.
    """

    def __init__(self, size: Size, guided: bool = False, name: str | None = None) -> None:
        self.size, self.guided = size, guided
        shape = (3 if guided else 2, SLOTS, size[1], size[0], 4)
        self._owner = name is None
        self._memory = _create(int(np.prod(shape))) if name is None else _attach(name)
        frames: Any = np.ndarray(shape, np.uint8, self._memory.buf)
        self.inputs: list[Pixels] = list(frames[0])
        self.outputs: list[Pixels] = list(frames[1])
        self.guides: list[Pixels] = list(frames[2]) if guided else []

    @property
    def name(self) -> str:
        return self._memory.name

    def close(self) -> None:
        """Unmap the memory; the owner also removes it from the system. May be called twice."""
        self.inputs, self.outputs, self.guides = [], [], []
        with contextlib.suppress(BufferError):  # a slot is still referenced: the mapping ends with the process
            self._memory.close()
        if self._owner:
            self._owner = False
            with contextlib.suppress(FileNotFoundError):
                self._memory.unlink()


def _create(length: int) -> SharedMemory:
    """Create shared memory.

    Linux grants more than /dev/shm holds, and kills the process that writes to it later, so check the free space first.
    """
    if sys.platform == "linux":
        room = os.statvfs("/dev/shm")
        if room.f_bavail * room.f_frsize < length:
            raise OSError(errno.ENOSPC, f"{length >> 20} MiB for frames do not fit into /dev/shm; "
                          "in a container, raise --shm-size")
    return SharedMemory(create=True, size=length)


def _attach(name: str) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    return SharedMemory(name)  # the resource tracker is shared with the stage, whose unlink clears this entry too
