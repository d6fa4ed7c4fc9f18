"""KeptPictures: the last picture of each session, in the folder that the show names; else nothing is kept."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.metrics import LogThrottle

MOST_FILES = 10_000  # in the folder; further pictures are not kept

log = logging.getLogger(__name__)


def _date() -> datetime.datetime:
    return datetime.datetime.now()


class KeptPictures:
    """Keeps the newest picture of a session in memory, and writes it at the session's end.

    Args:
        folder: Path of the folder; "" keeps nothing.
        date: The local date and time, for file names.
    """

    def __init__(
        self, folder: str, throttle: LogThrottle, date: Callable[[], datetime.datetime] = _date,
    ) -> None:
        self._folder, self._throttle, self._date = Path(folder) if folder else None, throttle, date
        self._last: dict[int, bytes] = {}
        self._writer = ThreadPoolExecutor(1, "kept-pictures")

    @property
    def is_on(self) -> bool:
        """Whether pictures are kept."""
        return self._folder is not None

    def remember(self, session: int, jpeg: bytes) -> None:
        """The newest picture of a session."""
        if self._folder is not None:
            self._last[session] = jpeg

    def keep(self, session: int) -> None:
        """A session has ended: write its last picture, in a thread."""
        jpeg = self._last.pop(session, None)
        if jpeg is not None and self._folder is not None:
            self._writer.submit(self._write, self._folder, f"{self._date():%Y%m%d-%H%M%S}-{session}.jpg", jpeg)

    def close(self) -> None:
        """Write what waits."""
        self._writer.shutdown()

    def _write(self, folder: Path, name: str, jpeg: bytes) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if sum(1 for _ in folder.iterdir()) >= MOST_FILES:
                self._throttle.warn("keep/full", f"{folder} has {MOST_FILES} files: no further picture is kept")
                return
            write_atomically(folder / name, jpeg)
        except OSError as error:
            self._throttle.warn("keep/failed", f"a visitor's picture cannot be kept: {error}")
