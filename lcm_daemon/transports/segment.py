"""A segment of shared memory that any process may leave at any time, found by name."""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.shared_room import reserve

_tracker_lock = threading.Lock()


class Segment:
    """A shared-memory segment: 64-bit words by index, and bytes. Python's resource tracker does not track it.

    Before Python 3.13, a process that only attaches is registered as an owner, and its end would remove the segment
    from all other processes. So no process is registered: the sink unlinks the segment when it closes. What a killed
    sink leaves is removed by the next one: on Linux under any name, elsewhere under the same name.
    """

    def __init__(self, name: str, size: int = 0) -> None:
        """Create a segment of `size` bytes, or attach to the existing one if `size` is 0; raises OSError."""
        self.name = name
        with _tracker_lock:
            if sys.version_info >= (3, 13):
                self._shared = SharedMemory(name, create=size > 0, size=size, track=False)
            else:
                self._shared = SharedMemory(name, create=size > 0, size=size)
                _call_tracker("unregister", self._shared)
        if size:
            self._reserve(size)
        assert self._shared.buf is not None
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._shared.buf, np.uint8)
        self._words: NDArray[np.uint64] = self._bytes[: self.size // 8 * 8].view(np.uint64)

    def _reserve(self, size: int) -> None:
        try:
            reserve(self._shared.name, size)
        except OSError:
            self._shared.close()
            self.unlink()
            raise

    @property
    def size(self) -> int:
        return self._bytes.size

    def __getitem__(self, index: int) -> int:
        return int(self._words[index])

    def __setitem__(self, index: int, word: int) -> None:
        self._words[index] = word

    def part(self, start: int, size: int) -> NDArray[np.uint8]:
        """View of some bytes. The segment cannot be closed while the caller keeps it."""
        return self._bytes[start : start + size]

    def close(self) -> None:
        del self._words, self._bytes  # the mapping cannot be closed while these views exist
        self._shared.close()

    def __del__(self) -> None:
        if hasattr(self, "_words"):
            self.close()

    def unlink(self) -> None:
        """Remove the name. Processes that are attached keep the memory."""
        with _tracker_lock:
            if sys.version_info < (3, 13):
                _call_tracker("register", self._shared)  # `unlink` unregisters it
            try:
                self._shared.unlink()
            except FileNotFoundError:
                if sys.version_info < (3, 13):
                    _call_tracker("unregister", self._shared)


def _call_tracker(verb: str, shared: SharedMemory) -> None:
    if os.name == "posix":
        getattr(resource_tracker, verb)(shared._name, "shared_memory")  # type: ignore[attr-defined]
