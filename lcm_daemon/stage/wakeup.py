"""WakeupPipe: lets any thread wake the stage from its wait."""

from __future__ import annotations

import contextlib
import socket


class WakeupPipe:
    """A socket pair: `ring` from any thread, wait on `rope` with the pipes, `clear` after waking."""

    def __init__(self) -> None:
        self.rope, self._clapper = socket.socketpair()
        self.rope.setblocking(False)
        self._clapper.setblocking(False)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it is ringing already; closed: nobody listens any more
            self._clapper.send(b"!")

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            while self.rope.recv(4096):
                pass

    def close(self) -> None:
        self.rope.close()
        self._clapper.close()
