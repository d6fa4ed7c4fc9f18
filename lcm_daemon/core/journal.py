"""Journal: a small mapping that outlives power cuts, in a file that grows by what has changed.

Each line of the file is a record: the CRC-32 of the rest as eight hexadecimal digits, a blank, and JSON. The first
record holds the whole mapping, `{"state": {...}}`; each later one what has changed, `{"set": {...}, "gone": [...]}`,
and the last one of an orderly end its reason, `{"end": "..."}`. A power cut may tear the last line, which is left out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.regular_file import open_regular

log = logging.getLogger(__name__)

SYNC_SECONDS = 0.1  # between two times that the file is forced to the disk
RETRY_SECONDS = 5.0  # between two tries after a failure
MAX_BYTES = 1 << 20  # of a file; then a new one begins
_BINARY = getattr(os, "O_BINARY", 0)


class JournalDamaged(LcmDaemonError):
    """The first record of a journal is damaged."""


@dataclass(frozen=True)
class JournalContent:
    """What a journal holds.

    Attributes:
        state: The mapping, as of the last whole record.
        end: Why the run that wrote it ended; "" if it was interrupted.
        torn: Whether a record is damaged. It and those after it are left out.
    """

    state: Mapping[str, Any]
    end: str = ""
    torn: bool = False


def read_journal(path: Path) -> JournalContent:
    """Read a journal.

    Raises:
        JournalDamaged: It has no whole record.
        OSError: It cannot be read, or is not a file; FileNotFoundError if there is none.
    """
    try:
        with open_regular(path) as file:
            lines = file.read(4 * MAX_BYTES).split(b"\n")
    except IsADirectoryError as error:
        raise JournalDamaged("it is a folder") from error
    state: dict[str, Any] = {}
    end, whole = "", 0
    for line in lines[:-1]:
        record = _parse(line)
        if record is None or ("state" in record) != (whole == 0):
            break
        state |= record.get("state", record.get("set", {}))
        for key in record.get("gone", ()):
            state.pop(key, None)
        end, whole = str(record.get("end", "")), whole + 1
    if not whole:
        raise JournalDamaged("its first record is damaged")
    return JournalContent(state, end, whole < len(lines) - 1 or lines[-1] != b"")


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None if it is damaged."""
    if len(line) < 10 or line[:9] != b"%08x " % zlib.crc32(line[9:]):
        return None
    try:
        found = json.loads(line[9:])
    except (ValueError, RecursionError):
        return None
    shapes = {"state": dict, "set": dict, "gone": list}
    return found if isinstance(found, dict) and all(
        isinstance(found[key], kind) for key, kind in shapes.items() if key in found) else None


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def previous_of(path: Path) -> Path:
    """The file before the one of this path."""
    return path.with_name(f"{path.name}.previous")


class Journal:
    """Writes a journal on a thread of its own, so that the caller never waits for a disk.

    What is given to `write` is in the hands of the system at once, where it outlives this process; it is on the disk,
    where it outlives a power cut, after SYNC_SECONDS. The first write begins a new file. The one before it is kept as
    `previous_path`, so that a cut in between loses nothing.

    Args:
        path: The file. It can be read by this user only.
        name: What the log calls it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.previous_path, self._name = path, previous_of(path), name
        self._newest: Mapping[str, Any] | None = None
        self._end = ""
        self._closing = False
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: int | None = None
        self._written: Mapping[str, Any] = {}
        self._synced_at, self._failed_at = 0.0, -RETRY_SECONDS  # monotonic seconds
        self._is_synced, self._is_ended = True, False
        self.trouble = ""

    def write(self, state: Mapping[str, Any]) -> None:
        """Let the journal hold this mapping, whose values JSON can express. It must not change later. Returns at once.

        If several wait, only the newest is written.
        """
        self._newest = state
        self._wake()

    def end(self, reason: str) -> None:
        """Write that the run ends in an orderly way, after what waits. Returns at once."""
        self._end = reason
        self._wake()

    def close(self) -> None:
        """Wait until everything is written, or could not be."""
        self._closing = True
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self.path.name, daemon=True)
            self._thread.start()
        self._news.set()

    # --- the thread ---

    def _work(self) -> None:
        while True:
            closing = self._closing
            if not closing:
                self._news.wait(self._pause())
                self._news.clear()
            try:
                self._write_newest(closing)
                self._sync(closing)
            except OSError as error:
                self._on_failure(error)
            if closing:
                return self._close_file()

    def _pause(self) -> float | None:
        """Seconds until something is to be done although nothing new has come; None if there is nothing."""
        due = None
        if not self._is_synced:
            due = self._synced_at + SYNC_SECONDS
        elif self._file is None and self._newest is not None:
            due = self._failed_at + RETRY_SECONDS
        return None if due is None else max(0.0, due - time.monotonic())

    def _write_newest(self, closing: bool) -> None:
        state, end = self._newest, self._end
        if state is None or self._is_ended:
            return
        if self._file is None:
            if time.monotonic() < self._failed_at + RETRY_SECONDS and not closing:
                return
            self._begin(state)
        elif state is not self._written:
            self._append(_difference(self._written, state))
        self._written = state
        if end:
            self._append({"end": end})
            self._is_ended = True
        if self._file is not None and os.fstat(self._file).st_size > MAX_BYTES and not end:
            self._close_file()

    def _begin(self, state: Mapping[str, Any]) -> None:
        """Begin a new file. It is on the disk at once."""
        write_atomically(self.path, _line({"state": state}), self.previous_path, private=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | _BINARY)
        if self.trouble:
            log.info("%s: saved again", self._name)
        self.trouble, self._synced_at = "", time.monotonic()

    def _append(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = _line(record) if record else b""
        if os.write(self._file, line) != len(line):
            raise OSError("the disk is full")
        self._is_synced = self._is_synced and not line

    def _sync(self, closing: bool) -> None:
        if self._is_synced or self._file is None:
            return
        if closing or time.monotonic() >= self._synced_at + SYNC_SECONDS:
            os.fsync(self._file)
            self._is_synced, self._synced_at = True, time.monotonic()

    def _on_failure(self, error: OSError) -> None:
        """Begin a new file at the next try: the last record of this one may be torn."""
        self._close_file()
        self._failed_at, self._is_synced = time.monotonic(), True
        if not self.trouble:
            self.trouble = f"{self._name} cannot be saved: {error.strerror or error}"
            log.warning("%s: %s; tried again every %g s", self.path, self.trouble, RETRY_SECONDS)

    def _close_file(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record that makes one mapping of the other; empty if they are equal."""
    changed = {key: value for key, value in now.items() if key not in before or before[key] != value}
    gone = [key for key in before if key not in now]
    return {kind: found for kind, found in (("set", changed), ("gone", gone)) if found}
