"""The user's folders for files that do not belong to a show."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from lcm_daemon.core.errors import LcmDaemonError


def cache_folder() -> Path:
    """Folder for files that can be made again: LCM_DAEMON_CACHE, or the system's usual place."""
    if given := os.environ.get("LCM_DAEMON_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return _local_data() / "Cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "lcm-daemon"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "lcm-daemon"


def state_folder() -> Path:
    """Folder for what outlives a run: LCM_DAEMON_STATE, systemd's STATE_DIRECTORY, or the system's usual place."""
    if given := os.environ.get("LCM_DAEMON_STATE") or os.environ.get("STATE_DIRECTORY"):
        return Path(given if os.name == "nt" else given.partition(":")[0])  # systemd may name several
    if sys.platform == "win32":
        return _local_data() / "State"
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "lcm-daemon"
    return Path(os.environ.get("XDG_STATE_HOME") or _home() / ".local" / "state") / "lcm-daemon"


def state_file(show: Path, suffix: str) -> Path:
    """The file in `state_folder` that holds something of a show. Two shows may have the same name.

    Args:
        show: The show file.
        suffix: Ending of the file's name, as ".journal".
    """
    digest = hashlib.sha256(str(show.resolve()).encode()).hexdigest()[:8]
    return state_folder() / f"{show.stem}-{digest}{suffix}"


def look_thumbnail(folder: Path, name: str) -> Path:
    """The file of a look's thumbnail in the folder of them."""
    return folder / f"{name}.jpg"


def _local_data() -> Path:
    return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "lcm-daemon"


def _home() -> Path:
    """Raises LcmDaemonError if the user has no home folder, as in a container that runs under any user number."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise LcmDaemonError(
            "this user has no home folder: name folders in LCM_DAEMON_STATE and LCM_DAEMON_CACHE"
        ) from error
