"""CrashFile: where the stage says that it crashed, so that the next run can tell a crash from a power cut.

A fatal signal (a segmentation fault in a native library, the abort of a watchdog) leaves no time to run Python. The
interpreter's fault handler writes the stacks of all threads to a file that is open already. A power cut, or a process
that is killed, leaves the file empty.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

MAX_BYTES = 64_000  # of a file that is read
CRASH_SUFFIX, KEPT_SUFFIX = ".crash", ".crash.last"


class CrashFile:
    """The crash file of one show. path: The show's resume file, whose suffix is replaced."""

    def __init__(self, path: Path) -> None:
        self.path, self.kept_path = path.with_suffix(CRASH_SUFFIX), path.with_suffix(KEPT_SUFFIX)
        self._file: IO[bytes] | None = None

    def read(self) -> str:
        """Why the last run crashed, in one line; "" if it did not. Its stacks are kept in `kept_path`."""
        try:
            with self.path.open("rb") as file:
                found = file.read(MAX_BYTES).decode("utf-8", "replace").strip()
            if found:
                os.replace(self.path, self.kept_path)
        except OSError:
            return ""
        return found.splitlines()[0][:200] if found else ""

    def open(self) -> None:
        """Let a fatal signal write to the file."""
        with contextlib.suppress(OSError):  # the show plays without it
            self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
            faulthandler.enable(self._file)

    def close(self) -> None:
        """The show has ended without a crash."""
        if self._file is None:
            return
        faulthandler.disable()
        self._file.close()
        self._file = None
        with contextlib.suppress(OSError):
            self.path.unlink()
