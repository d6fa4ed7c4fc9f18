"""LogHandler: writes log lines on a thread, so that logging never blocks.

Standard error may be a terminal that is paused (Ctrl-S, a click into a Windows console), or a pipe without a reader. A
write then blocks, and would block the tick.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TextIO

LINES = 1000  # lines that may wait to be written; further ones are dropped and counted
FLUSH_SECONDS = 1.0  # how long an ending process waits until its lines are written


class LogHandler(logging.Handler):
    """Writes each record as a line to `stream`. The number of dropped lines is written once writing works again."""

    def __init__(self, stream: TextIO, lines: int = LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(lines)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; never blocks. The thread starts with the first line, so that a fork before it is harmless."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until every line is written, for FLUSH_SECONDS at most."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_SECONDS)

    def _write_lines(self) -> None:
        while True:
            line = self._lines.get()
            dropped, self._dropped = self._dropped, 0
            try:
                self._stream.write(f"{line}\n({dropped} log lines dropped)\n" if dropped else f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the stream is closed, and nothing else can report it
            finally:
                self._lines.task_done()
