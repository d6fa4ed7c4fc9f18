"""What the log says of the files that play. Each line comes once in a run, however often a file is opened."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from lcm_daemon.core.pictures import Version, file_version

_log = logging.getLogger(__name__)


class FileReports:
    """The lines that were logged. Sources share one: a live change opens a file again in another source."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._damaged: dict[Path, Version | None] = {}  # reported files, with the version of then
        self._noted: set[str] = set()

    def damage(self, path: Path, text: str) -> None:
        """Log a damaged file once, and again after it has changed."""
        version = file_version(path)
        with self._lock:
            if path in self._damaged and self._damaged[path] == version:
                return
            self._damaged[path] = version
        _log.warning("%s", text)

    def note(self, text: str) -> None:
        """Log a line once."""
        with self._lock:
            if text in self._noted:
                return
            self._noted.add(text)
        _log.info("%s", text)


REPORTS = FileReports()  # of this process
