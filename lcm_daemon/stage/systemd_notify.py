"""SystemdNotifier: reports to the service manager, so that it restarts a stage that hangs.

The protocol is systemd's sd_notify(3): datagrams to the socket named by NOTIFY_SOCKET. Without that variable nothing is
sent.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

WATCHDOG_INTERVAL = 1.0  # seconds between two messages; the manager's timeout should be several of them


class SystemdNotifier:
    """Sends datagrams to the service manager. Nothing blocks, and a missing manager is ignored.

    Args:
        environment: os.environ if None.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # "@": Linux's abstract names
        self._socket: socket.socket | None = None
        self._last = -WATCHDOG_INTERVAL
        if self._address and sys.platform != "win32":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def ready(self) -> None:
        """The show is open."""
        self._send("READY=1")

    def alive(self, now: float) -> None:
        """A tick was completed at `now` (monotonic seconds)."""
        if self._socket is not None and now - self._last >= WATCHDOG_INTERVAL:
            self._last = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The show ends because it was asked to."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), self._address)
            except OSError:
                return  # no reader, or a slow one: the next message is sent in a second
