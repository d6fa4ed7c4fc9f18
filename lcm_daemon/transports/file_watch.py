"""Notice that a file was written or replaced while it plays."""

from __future__ import annotations

from pathlib import Path

from lcm_daemon.core.clock import Clock
from lcm_daemon.core.pictures import Version, file_version

LOOK_SECONDS = 0.5  # how often the file is looked at


class FileWatch:
    """Looks at the version of one file.

    Args:
        path: the file, which has just been opened.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock
        self._known: Version | None = file_version(path)
        self._seen = self._known
        self._next_look = clock.now() + LOOK_SECONDS

    @property
    def is_other(self) -> bool:
        """Whether the file is not the one that was opened, be it new, half written or missing. Looks at once."""
        return file_version(self._path) != self._known

    def has_changed(self) -> bool:
        """Whether there is a new version that no one writes to any more. True once for each."""
        if self._clock.now() < self._next_look:
            return False
        self._next_look = self._clock.now() + LOOK_SECONDS
        last, self._seen = self._seen, file_version(self._path)
        if self._seen is None or self._seen != last or self._seen == self._known:
            return False
        self._known = self._seen
        return True
