"""Files that are replaced in one step: a power cut leaves the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

log = logging.getLogger(__name__)

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows


def write_atomically(
    path: Path, content: str | bytes, backup: Path | None = None, model: Path | None = None, private: bool = False,
    forced: bool = True,
) -> os.stat_result:
    """Replace a file in one step. Makes its folder if there is none, and keeps its permissions.

    Returns the status of the file as it was written: a file that has another one was changed after that.

    Args:
        path: The file.
        content: The new content; text is written as UTF-8, its line ends unchanged.
        backup: Where the old content is moved to; None discards it.
        model: A file whose permissions a new file gets; None for those of the process.
        forced: Wait until the disk has it. Otherwise a power cut may lose it, or leave an empty file.
        private: Only this user may read the file, also if others could read it before.

    Raises:
        OSError: The file cannot be written; it is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.new")
    try:
        like = None if private else path if path.exists() else model
        # A secret must not be readable before the file has its permissions.
        mode = 0o666 if like is None and not private else 0o600
        part.unlink(missing_ok=True)  # of an earlier run; also a link that leads elsewhere
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, mode), "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            status = os.fstat(file.fileno())
            if forced:  # before the file gets its name: a power cut could leave an empty one otherwise
                os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            if like is not None:
                shutil.copymode(like, part)
        if backup is not None:
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, backup)
        os.replace(part, path)
        if forced:
            _sync_folder(path.parent)
        return status
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk. Windows has no such call; other systems may not allow it."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


class AtomicFile:
    """A small file that is written on its own thread, so that the caller never waits for a disk.

    If several writes wait, only the newest is done.
    """

    def __init__(self, path: Path, content_name: str) -> None:
        """Does nothing to the file yet.

        Args:
            path: The file.
            content_name: What the log calls its content.
        """
        self.path, self._content_name = path, content_name
        self._thread = ThreadPoolExecutor(1, path.name)  # starts with the first write
        self._newest: Callable[[], str] | None = None
        self._failed = False  # a failure is logged once, until a write succeeds again

    def write(self, compose: Callable[[], str]) -> None:
        """Write what `compose` returns. Returns at once; `compose` is called on the file's thread."""
        self._newest = compose
        self._thread.submit(self._write_newest)

    def close(self) -> None:
        """Wait until everything is done."""
        self._thread.shutdown()

    def _write_newest(self) -> None:
        compose, self._newest = self._newest, None
        if compose is None:
            return
        try:
            write_atomically(self.path, compose())
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("%s: %s cannot be saved: %s", self.path, self._content_name, error.strerror)
            self._failed = True
