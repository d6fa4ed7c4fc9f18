"""SystemdNotifier: tells the service manager that the show goes on, so that it starts another where the stage itself hangs.

The protocol is systemd's sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Where nothing set that, all of
this does nothing.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

PULSE = 1.0  # seconds between two signs of life; a manager should wait for several of them


class SystemdNotifier:
    """The line to the service manager. Nothing here waits, and a manager that has gone is nobody's trouble."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """environment: os.environ if None."""
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # Linux's abstract names
        self._line: socket.socket | None = None
        self._last = -PULSE
        if self._address and sys.platform != "win32":
            self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._line.setblocking(False)

    def ready(self) -> None:
        """The show is open."""
        self._say("READY=1")

    def alive(self, now: float) -> None:
        """A beat has been played at `now` (monotonic seconds)."""
        if self._line is not None and now - self._last >= PULSE:
            self._last = now
            self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """The show ends because it was asked to."""
        self._say("STOPPING=1")

    def _say(self, word: str) -> None:
        if self._line is not None:
            try:
                self._line.sendto(word.encode(), self._address)
            except OSError:
                return  # nobody listens, or not fast enough: the next sign comes in a second
