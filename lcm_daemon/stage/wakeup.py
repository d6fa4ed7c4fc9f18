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
        self._was_woken = False

    def wake(self) -> None:
        """Make `reader` readable; never blocks."""
        with contextlib.suppress(OSError):  # full: it is readable already; closed: the stage has ended
            self._writer.send(b"!")
        self._was_woken = True  # only now: what is set must have been sent, or `clear` would leave it

    def clear(self) -> None:
        """Read everything that was written."""
        if not self._was_woken:
            return
        self._was_woken = False
        with contextlib.suppress(OSError):
            while self.reader.recv(4096):
                pass

    def close(self) -> None:
        self.reader.close()
        self._writer.close()
