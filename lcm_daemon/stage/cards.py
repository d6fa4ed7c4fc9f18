"""Counts this machine's NVIDIA cards without a library of the driver: the stage must not depend on one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_LINUX = Path("/proc/driver/nvidia/gpus")  # a folder a card
_TIMEOUT = 10.0  # seconds that the driver's tool may take; without its daemon it wakes the cards first


def count_cards() -> int:
    """Number of NVIDIA cards that an engine may use; 0 without their driver. May take seconds on Windows."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([name for name in chosen.split(",") if name.strip() not in ("", "-1")])
    if _LINUX.is_dir():
        return len(list(_LINUX.iterdir()))
    return _count_by_tool()


def _count_by_tool() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
