"""Signals of faults, on each system."""

from __future__ import annotations

import os
import signal
import sys

if sys.platform == "win32":
    KILL = STOP = CONTINUE = int(signal.SIGTERM)  # Windows ends a process, and cannot stop one
    CAN_STOP = False

    def kill_group(pid: int) -> None:
        """Kill a process; its children end when they see that."""
        os.kill(pid, KILL)
else:
    KILL, STOP, CONTINUE = int(signal.SIGKILL), int(signal.SIGSTOP), int(signal.SIGCONT)
    CAN_STOP = True

    def kill_group(pid: int) -> None:
        """Kill a process and all of its group at once. Raises ProcessLookupError."""
        os.killpg(pid, KILL)
