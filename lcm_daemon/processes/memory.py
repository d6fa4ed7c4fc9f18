"""How much memory a process uses."""

from __future__ import annotations

import psutil


def memory_of(pid: int) -> int:
    """Bytes of a process that are in memory (its resident set); 0 if it has ended. Takes microseconds."""
    if pid <= 0:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
