"""WakeupPipe: lets any thread wake the stage from its wait."""

from __future__ import annotations

import contextlib
import socket


class WakeupPipe:
    """A socket pair: `wake` from any thread, wait on `reader` together with other pipes, `clear` after waking.

    A socket pair, since `select` on Windows accepts nothing else.
    """

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """Make `reader` readable; never blocks."""
        with contextlib.suppress(OSError):  # full: it is readable already; closed: the stage has ended
            self._writer.send(b"!")

    def clear(self) -> None:
        """Read everything that was written."""
        with contextlib.suppress(OSError):
            while self.reader.recv(4096):
                pass

    def close(self) -> None:
        self.reader.close()
        self._writer.close()
