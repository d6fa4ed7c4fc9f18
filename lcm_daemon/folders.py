"""Folders: where this system keeps what belongs to a user and to no show."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """For what can be made again: LCM_DAEMON_CACHE, or as the system has it."""
    if given := os.environ.get("LCM_DAEMON_CACHE"):
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        return _local_data(home) / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "lcm-daemon"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "lcm-daemon"


def state_folder() -> Path:
    """For what outlives a run: LCM_DAEMON_STATE, systemd's STATE_DIRECTORY, or as the system has it."""
    if given := os.environ.get("LCM_DAEMON_STATE") or os.environ.get("STATE_DIRECTORY"):
        return Path(given if os.name == "nt" else given.partition(":")[0])  # systemd may name several
    home = Path.home()
    if sys.platform == "win32":
        return _local_data(home) / "State"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "lcm-daemon"
    return Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "lcm-daemon"


def _local_data(home: Path) -> Path:
    return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "lcm-daemon"
