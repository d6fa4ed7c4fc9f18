"""LogFile: a log file of limited size that all processes of a daemon append to."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

MODE, PRIVATE_MODE = 0o640, 0o600  # of the file: lines may quote prompts
_FLAGS = (os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
          | getattr(os, "O_NONBLOCK", 0))  # a pipe without a reader would be waited for


class LogFile:
    """Appends lines to a file, as the stream of a LogHandler. The handler's thread calls it.

    The file is opened for each write: it may be renamed by another process, deleted, or be on a disk that returns. Each
    write ends up as a whole, since the system appends it at once. One process of a daemon renames the file when it is
    full: to "name.1", and that one to "name.2".

    Args:
        path: The file.
        size: Bytes from which it is renamed.
        keep: How many renamed files are kept.
        renames: Whether this process is the one that renames.
        mode: Permissions of the file.

    Attributes:
        trouble: Why the last line could not be written; "" if it was.
    """

    def __init__(self, path: Path, size: int, keep: int, renames: bool, mode: int = MODE) -> None:
        self.path, self.trouble = path, ""
        self._size, self._keep, self._renames, self._mode = size, keep, renames, mode
        self._lost, self._is_torn = 0, False  # lines that were not written; whether the last one is cut off

    def write(self, text: str) -> None:
        """Append lines. What cannot be written is lost and counted; the next line that is written says how many."""
        lost = f"({self._lost} log lines could not be written)\n" if self._lost else ""
        data = (("\n" if self._is_torn else "") + lost + text).encode("utf-8", "backslashreplace")
        try:
            written = self._append(data)
        except OSError as error:
            self._lost, self.trouble = self._lost + 1, error.strerror or str(error)
            return
        self._is_torn = written < len(data)
        self._lost, self.trouble = (1, os.strerror(errno.ENOSPC)) if self._is_torn else (0, "")

    def flush(self) -> None:
        """Rename the file if it is full and this is the process that does it."""
        if self._renames:
            with contextlib.suppress(OSError):  # on Windows, while another process writes: at the next call
                if os.stat(self.path).st_size >= self._size:
                    self._rename()

    def _append(self, data: bytes) -> int:
        """Return the number of bytes that were written. Raises OSError."""
        try:
            number = os.open(self.path, _FLAGS, self._mode)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(self.path, _FLAGS, self._mode)
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise OSError(errno.EINVAL, "it is not a file")
            return os.write(number, data)
        finally:
            os.close(number)

    def _rename(self) -> None:
        for number in range(self._keep, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(numbered(self.path, number - 1), numbered(self.path, number))
        if self._keep:
            os.replace(self.path, numbered(self.path, 1))
        else:
            self.path.unlink()


def numbered(path: Path, number: int) -> Path:
    """The file that a log file was renamed to, `number` times ago; the file itself for 0."""
    return path.with_name(f"{path.name}.{number}") if number else path
