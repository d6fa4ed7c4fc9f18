"""Which start of the machine this is."""

from __future__ import annotations

import functools
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def boot_id() -> str:
    """A text that is another one after each start of the machine; "" where the system tells none."""
    try:
        return _LINUX.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
