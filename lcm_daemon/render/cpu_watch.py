"""CpuWatch: whether a process is at work."""

from __future__ import annotations

import psutil


class CpuWatch:
    """Tells whether a process used the CPU within the last second. Says nothing of a GPU, where a hang uses it too."""

    def __init__(self) -> None:
        self._checked_at, self._cpu_time, self._busy = 0.0, 0.0, False

    def is_busy(self, pid: int | None, now: float) -> bool:
        """Checked once a second at most."""
        if now - self._checked_at >= 1.0:
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                return False
            self._busy = times.user + times.system - self._cpu_time > 0.1
            self._checked_at, self._cpu_time = now, times.user + times.system
        return self._busy
