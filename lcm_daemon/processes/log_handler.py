"""LogHandler: writes log lines on a thread, so that logging never blocks.

Standard error may be a terminal that is paused (Ctrl-S, a click into a Windows console), or a pipe without a reader. A
write then blocks, and would block the tick.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from typing import Protocol

LINES = 1000  # lines that may wait to be written; further ones are dropped and counted
FLUSH_SECONDS = 1.0  # how long an ending process waits until its lines are written


class Stream(Protocol):
    """What lines are written to, such as standard error. Both methods may raise OSError and ValueError."""

    def write(self, text: str, /) -> object:
        """Write lines."""

    def flush(self) -> object:
        """Called after each write."""


class LogHandler(logging.Handler):
    """Writes each record as a line to `stream`. The number of dropped lines is written once writing works again.

    Args:
        stream: Where lines go.
        lines: How many may wait.
        look: Seconds after which the stream is flushed although no line has come; None for never.
    """

    def __init__(self, stream: Stream, lines: int = LINES, look: float | None = None) -> None:
        super().__init__()
        self._stream, self._look = stream, look
        self._lines: queue.Queue[str | None] = queue.Queue(lines)  # None: the handler is closed
        self._dropped, self._is_closed = 0, False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line; never blocks. The thread starts with the first line, so that a fork before it is harmless."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
            self._thread.start()
        try:
            line = self.format(record)
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # a library's text that does not fit its
            line = f"{record.levelname} {record.name}: {record.msg} {record.args} ({error})"  # arguments
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until every line is written, for FLUSH_SECONDS at most."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_SECONDS)

    def close(self) -> None:
        """End the thread once every line is written. Returns at once."""
        if self._thread is not None and not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(queue.Full):  # the thread looks at `_is_closed` after each line too
                self._lines.put_nowait(None)
        super().close()

    def _write_lines(self) -> None:
        while not self._is_closed or not self._lines.empty():
            try:
                line = self._lines.get(timeout=self._look)
            except queue.Empty:
                self._flush_stream()
                continue
            if line is None:
                self._lines.task_done()
                continue
            dropped, self._dropped = self._dropped, 0
            try:
                self._stream.write(f"{line}\n({dropped} log lines dropped)\n" if dropped else f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the stream is closed, and nothing else can report it
            finally:
                self._lines.task_done()

    def _flush_stream(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the stream is closed, and nothing else can report it
            self._stream.flush()
