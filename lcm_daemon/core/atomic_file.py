"""AtomicFile: a small file that is written beside the tick, which must not wait for a disk."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

log = logging.getLogger(__name__)


class AtomicFile:
    """One file on a thread of its own: of several texts that wait the newest is written, all of it or nothing.

    what: as the log calls its content.   spare: keep the text before as well, under `spare_path`.
    """

    def __init__(self, path: Path, what: str, spare: bool = False) -> None:
        self.path, self.spare_path = path, path.with_name(f"{path.name}.old")
        self._what, self._spare = what, spare
        self._thread = ThreadPoolExecutor(1, path.name)  # begins with the first writing
        self._newest: Callable[[], str] | None = None
        self._failed = False  # said once, until it works again

    def write(self, compose: Callable[[], str]) -> None:
        """Write what `compose` will return, soon; returns at once."""
        self._newest = compose
        self._thread.submit(self._work)

    def remove(self) -> None:
        """Remove the file and what was kept of it, once all is written."""
        self._thread.submit(self._remove)

    def close(self) -> None:
        """Wait until all is done."""
        self._thread.shutdown()

    def _work(self) -> None:
        compose, self._newest = self._newest, None
        if compose is None:
            return
        try:
            self._replace(compose())
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("%s: %s cannot be kept: %s", self.path, self._what, error.strerror)
            self._failed = True

    def _replace(self, text: str) -> None:
        """On the disk before it has the name: else a power cut could leave the name with nothing in it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.new")
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if self._spare:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.path, self.spare_path)
        os.replace(part, self.path)

    def _remove(self) -> None:
        for path in (self.path, self.spare_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
