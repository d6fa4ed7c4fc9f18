"""DiskWatch: raises an alarm if a disk that the daemon writes to is nearly full, read-only, or does not answer."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.paths import state_folder
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.background_poll import BackgroundPoll

log = logging.getLogger(__name__)

INTERVAL = 15.0  # seconds between two looks
HANG_SECONDS = 30.0  # a look takes less, unless a file server does not answer
MIB = 1 << 20
SHARED_MEMORY = Path("/dev/shm")  # frames of engines and of the transport memory
SHARED_MEMORY_FREE = 64 * MIB  # bytes: three pictures of 1920x1080 twice, for an engine that is started beside another
FEWEST_FILES = 100  # that a disk should still have room for


class Disk(NamedTuple):
    """What is known of a disk: bytes that are free, files that fit on it (-1: unknown), whether it can be written."""

    free: int
    files: int
    writable: bool


def written_folders(show: Show) -> dict[str, Path]:
    """Folders that a show writes to, by what is written."""
    keep = show.audience.keep if show.audience else ""
    found = {"the recordings": [sink.options["path"] for sink in show.sinks if sink.transport == "record"],
             "the looks": [str(show.companion_file)], "the log": [show.unattended.log.file],
             "the visitors' pictures": [f"{keep}/picture"] if keep else []}
    folders = {"the state": state_folder()}
    for what, paths in found.items():
        own = sorted({Path(path).parent for path in paths if path})
        folders |= {what if len(own) == 1 else f"{what} in {folder}": folder for folder in own}
    return folders


def existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that exists."""
    return next((each for each in (folder, *folder.parents) if each.is_dir()), Path(folder.anchor or "."))


def look_at(folder: Path) -> Disk:
    """Ask the system about the disk of a folder. Raises OSError."""
    free = shutil.disk_usage(folder).free
    if sys.platform == "win32":
        return Disk(free, -1, True)
    state = os.statvfs(folder)
    return Disk(free, state.f_favail if state.f_files else -1, not state.f_flag & os.ST_RDONLY)


class DiskWatch:
    """Looks at the disks on a thread of its own.

    Args:
        folders: What is written, and where.
        least: Bytes that should be free.
        alarms: Where to report.
        look: Asks about one folder.
    """

    name = "watching the disks"

    def __init__(
        self, folders: Mapping[str, Path], least: int, alarms: Alarms, look: Callable[[Path], Disk] = look_at
    ) -> None:
        self._folders, self._least, self._alarms, self._look = folders, least, alarms, look
        self._asked = ""  # the folder of the present look
        self._disks: BackgroundPoll[dict[str, Disk | str]] = BackgroundPoll("disks", self._ask, INTERVAL)
        self._said = ""

    def step(self, now: float) -> None:
        self._disks.start()
        text = "; ".join(self._problems(self._disks.answer or {}, self._disks.waits_since(now)))
        if text and text != self._said:
            log.warning("%s", text)
        self._said = text
        self._alarms.set("disk", text)

    def status(self) -> Mapping[str, Value]:
        free = [disk.free for disk in (self._disks.answer or {}).values() if isinstance(disk, Disk)]
        return {"disk_free": round(min(free) / 1e9, 1)} if free else {}

    def stop(self) -> None:
        self._disks.stop()

    def _ask(self) -> dict[str, Disk | str]:
        """Every disk, or why it cannot be asked, by a folder on it and what is written there."""
        found: dict[str, Disk | str] = {}
        devices: set[int] = set()
        for what, folder in self._folders.items():
            self._asked = f"{folder} ({what})"
            try:
                there = existing(folder)
                device = there.stat().st_dev
                if device not in devices:
                    devices.add(device)
                    found[self._asked] = self._look(there)
            except OSError as error:
                found[self._asked] = str(error.strerror or error)
        if SHARED_MEMORY.is_dir():
            self._asked = str(SHARED_MEMORY)
            found[self._asked] = self._look(SHARED_MEMORY)
        return found

    def _problems(self, disks: Mapping[str, Disk | str], waits: float) -> Iterable[str]:
        if waits >= HANG_SECONDS:
            yield f"the disk of {self._asked} does not answer"
        for folder, disk in disks.items():
            if isinstance(disk, str):
                yield f"the disk of {folder} cannot be read: {disk}"
                continue
            is_memory = folder == str(SHARED_MEMORY)
            least = SHARED_MEMORY_FREE if is_memory else self._least
            if not disk.writable:
                yield f"the disk of {folder} is read-only"
            elif disk.free < least:
                yield f"{'' if is_memory else 'the disk of '}{folder} has less than {least // MIB} MiB left"
            elif 0 <= disk.files < FEWEST_FILES:
                yield f"the disk of {folder} has no room for more files, although it has free space"
