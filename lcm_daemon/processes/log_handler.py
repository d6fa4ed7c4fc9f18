"""LogHandler: log lines on a thread of their own, so that whoever logs never waits for whoever reads.

Standard error may be a terminal that somebody has stopped (Ctrl-S, a click into a Windows console), or a pipe that
nobody reads: a write then waits for ever, and with it would the tick.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TextIO

LINES = 1000  # that wait for their reader; further ones are dropped and counted
LAST_WORDS = 1.0  # seconds that an ending process waits until its lines are out


class LogHandler(logging.Handler):
    """Writes to `stream`, a line a record. What could not be kept is said once the reader is back."""

    def __init__(self, stream: TextIO, lines: int = LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(lines)
        self._dropped = 0
        self._writing: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a line to be written; never waits. The thread begins with the first line: a fork must not lose it."""
        if self._writing is None:
            self._writing = threading.Thread(target=self._write, name="journal", daemon=True)
            self._writing.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all is written, for LAST_WORDS at most."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, LAST_WORDS)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            dropped, self._dropped = self._dropped, 0
            try:
                self._stream.write(f"{line}\n({dropped} more lines, which nobody read)\n" if dropped else f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the reader has gone; there is nobody to tell
            finally:
                self._lines.task_done()
