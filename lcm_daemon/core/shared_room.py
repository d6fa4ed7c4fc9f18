"""Room for shared memory: Linux grants more than /dev/shm holds, and kills the process that writes to it later."""

from __future__ import annotations

import os
import sys

if sys.platform == "linux":

    def reserve(name: str, size: int) -> None:
        """Take the memory of a block now, so that a write to it later cannot fail.

        Args:
            name: Name of the block.
            size: Bytes from its start.

        Raises:
            OSError: The system has no room.
        """
        file = os.open(f"/dev/shm/{name}", os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(file, 0, size)
        finally:
            os.close(file)

else:

    def reserve(name: str, size: int) -> None:
        """Other systems refuse what they cannot hold when a block is made."""
