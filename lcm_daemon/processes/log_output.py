"""Where a process writes its log, and in which form."""

from __future__ import annotations

import json
import logging
import multiprocessing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from lcm_daemon.core.printable import printable, printable_json
from lcm_daemon.processes.log_file import PRIVATE_MODE, LogFile
from lcm_daemon.processes.log_handler import LogHandler
from lcm_daemon.processes.repeats import RepeatFilter

TEXT, JSON = "text", "json"
FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"
FILE_FORMAT = "%(asctime)s.%(msecs)03d %(levelname).1s %(role)s %(process)d %(name)s: %(message)s"
RECENT_BYTES = 256_000  # of the file of recent lines; the one before it is kept
LOOK_SECONDS = 2.0  # between two looks at the size of a file, while no line is written


@dataclass(frozen=True)
class LogOutput:
    """Where the lines of a daemon's processes go.

    Attributes:
        file: Path of a file beside standard error; "" for none.
        size: Bytes from which it is renamed.
        keep: How many renamed files are kept.
        format: TEXT or JSON, of the file; without one, of standard error.
        recent: Path of the file of recent lines, which crash reports quote; "" for none.
    """

    file: str = ""
    size: int = 10_000_000
    keep: int = 5
    format: str = TEXT
    recent: str = ""

    def handlers(self, stream: TextIO) -> list[logging.Handler]:
        """A handler for each destination. stream: Standard error."""
        on_terminal: logging.Formatter = TextFormatter(FORMAT, "%H:%M:%S")
        if self.format == JSON and not self.file:
            on_terminal = JsonFormatter()
        found = [_set_up(LogHandler(stream), on_terminal)]
        in_file = JsonFormatter() if self.format == JSON else FileFormatter()
        if self.file:
            file = LogFile(Path(self.file), self.size, self.keep, _renames())
            found.append(_set_up(FileHandler(file, True), in_file))
        if self.recent:
            recent = LogFile(Path(self.recent), RECENT_BYTES, 1, _renames(), PRIVATE_MODE)
            found.append(_set_up(FileHandler(recent, False), JsonFormatter()))
        repeats = RepeatFilter()
        for handler in found:
            handler.addFilter(repeats)
        return found


class FileHandler(LogHandler):
    """Writes to a log file, on a thread of its own: a disk that hangs delays no other destination."""

    def __init__(self, file: LogFile, is_asked_for: bool) -> None:
        """is_asked_for: Whether the user wants the file, and is to know if it cannot be written."""
        super().__init__(file, look=LOOK_SECONDS)
        self.file, self.is_asked_for = file, is_asked_for


class TextFormatter(logging.Formatter):
    """Lines of text. A message of several lines has its further ones indented; control characters are escapes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the name is the library's)
        """A line, without the traceback."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """A line, with the traceback on further ones."""
        return printable(super().format(record), "")


class FileFormatter(TextFormatter):
    """Lines of text with date and process: "2026-12-24 18:00:00.123 W engine 4711 lcm_daemon.render.engine: ..."."""

    def __init__(self) -> None:
        super().__init__(FILE_FORMAT, "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """A line, with the traceback on further ones."""
        record.role = role()
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    time: ISO 8601, UTC. level: "info". process: its part, as "engine". pid. logger: the module. message.
    traceback: where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """A line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        found = {"time": when, "level": record.levelname.lower(), "process": role(), "pid": record.process,
                 "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            found["stack"] = record.stack_info
        return printable_json(json.dumps(found, ensure_ascii=False))


def role() -> str:
    """What this process is in its daemon: "stage", "engine", "desk", "audience", "relay"."""
    if _renames():
        return "stage"
    return multiprocessing.current_process().name.removeprefix("lcm-")


def trouble() -> str:
    """Why the log file cannot be written at present; "" while it can."""
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, FileHandler) and each.is_asked_for]
    return "; ".join(f"{each.file.path}: {each.file.trouble}" for each in handlers if each.file.trouble)


def flush_log() -> None:
    """Wait until every line is written, for a second at most for each destination.

    A child calls it before it says that it has failed: it is killed at once, and its last lines say why.
    """
    for handler in logging.getLogger().handlers:
        handler.flush()


def _renames() -> bool:
    """Whether this is the process that the others are children of."""
    return multiprocessing.parent_process() is None


def _set_up(handler: logging.Handler, formatter: logging.Formatter) -> logging.Handler:
    handler.setFormatter(formatter)
    return handler
