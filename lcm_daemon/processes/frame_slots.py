"""FrameSlots: frames in shared memory between the stage and one of its children."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from multiprocessing.shared_memory import SharedMemory
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.core.shared_room import reserve
from lcm_daemon.processes.segments import FOLDER, OwnedSegment

SLOTS = 3  # one at work, one handed over, one spare
FEWEST_SLOTS = 1  # a frame is then sent once the result before it has been read
_granted: dict[str, int] = {}  # sizes in bytes of the blocks that this process has made, by name


class FrameSlots:
    """Frames in one block of shared memory: `inputs[i]` goes to the child, `outputs[i]` comes back.

    Args:
        size: (width, height) of every frame in pixels.
        guided: Whether there are guide frames as well: `guides[i]` goes to the child beside `inputs[i]`.
        name: Name of an existing block. None creates a new one, which this object then owns.
        count: Number of slots. A new block has fewer, down to `fewest`, where the system has no room for more.
        fewest: 0 for a child that can work without frames.

    Raises:
        OSError: The system has no room for the block.
    """

    _kept: ClassVar[list[SharedMemory]] = []  # no reference ends these

    def __init__(
        self, size: Size, guided: bool = False, name: str | None = None, count: int = SLOTS, fewest: int = FEWEST_SLOTS,
    ) -> None:
        self.size, self.guided = size, guided
        self._owned: OwnedSegment | None = None
        slot_bytes = (3 if guided else 2) * size[1] * size[0] * 4
        self._memory: SharedMemory
        if name is None:
            self._owned, self.count = _create(slot_bytes, count, fewest)
            self._memory = self._owned.memory
        else:
            self._memory, self.count = attach(name), count
        self._bytes = self.count * slot_bytes
        shape = (3 if guided else 2, self.count, size[1], size[0], 4)
        frames: Any = np.ndarray(shape, np.uint8, self._memory.buf)
        self.inputs: list[Pixels] = list(frames[0])
        self.outputs: list[Pixels] = list(frames[1])
        self.guides: list[Pixels] = list(frames[2]) if guided else []

    def memory(self) -> NDArray[np.uint8]:
        """All slots as one array, (bytes,)."""
        return np.ndarray((self._bytes,), np.uint8, self._memory.buf)

    def reserve(self, inputs_only: bool = False) -> None:
        """Take the memory of all slots now: another program may fill the rest before a slot is first written to.

        Called by the child, before it accepts frames, so that the stage does not wait for it.

        Args:
            inputs_only: The child sends no pictures back.

        Raises:
            OSError: The system has no room.
        """
        if not self.count:
            return
        planes = 3 if self.guided else 2
        reserve(self._memory.name, self._bytes // planes if inputs_only else self._bytes)

    @property
    def name(self) -> str:
        return self._memory.name

    def keep_mapped(self) -> None:
        """Leave the mapping to the end of the process: something may still write to a slot."""
        self._kept.append(self._memory)

    def close(self) -> None:
        """Unmap the memory; the owner also removes it from the system. May be called twice."""
        self.inputs, self.outputs, self.guides = [], [], []
        if self._memory not in self._kept:
            with contextlib.suppress(BufferError):  # a slot is still referenced: the mapping ends with the process
                self._memory.close()
        if self._owned is not None:
            _granted.pop(self._memory.name, None)
            self._owned.remove()
            self._owned = None


def _create(slot_bytes: int, count: int, fewest: int) -> tuple[OwnedSegment, int]:
    """Create shared memory for `count` slots, or for as many as there is room for; return it and their number.

    Linux grants more than /dev/shm holds, and kills the process that writes to it later, so check the free space first.
    """
    room = _room()
    count = max(fewest, min(count, room // slot_bytes))
    if count and room < count * slot_bytes:
        raise OSError(errno.ENOSPC, f"{count * slot_bytes >> 20} MiB for frames do not fit into /dev/shm; "
                      "in a container, raise --shm-size")
    owned = OwnedSegment(max(1, count * slot_bytes))  # an empty one is not possible; a byte unwritten takes no room
    _granted[owned.memory.name] = count * slot_bytes
    return owned, count


if sys.platform == "linux":

    def _room() -> int:
        """Bytes of /dev/shm that no block will take: a page counts as used there only once it was written."""
        room = os.statvfs(FOLDER)
        unwritten = sum(max(0, size - _written(name)) for name, size in _granted.items())
        return room.f_bavail * room.f_frsize - unwritten

    def _written(name: str) -> int:
        """Bytes of a block that take memory; none if it was removed from outside."""
        try:
            return os.stat(FOLDER / name).st_blocks * 512  # stat(2): in units of 512 bytes
        except FileNotFoundError:
            return 0

else:

    def _room() -> int:
        """Other systems refuse what they cannot hold."""
        return sys.maxsize


def attach(name: str) -> SharedMemory:
    """Open a block that another process owns. Raises OSError."""
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    return SharedMemory(name)  # the resource tracker is shared with the stage, whose unlink clears this entry too
