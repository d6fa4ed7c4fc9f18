"""RepeatFilter: keeps log lines that are repeated from filling a log, whichever module or library writes them."""

from __future__ import annotations

import logging
import re
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

BURST = 16  # lines of one kind of our own that are all written
FORGET_SECONDS = 600.0  # without a line of a kind, after which its next one is the first again
LONGEST_PAUSE = 3600.0  # seconds after which a line of a kind is due in any case
MOST_KINDS = 512  # that are counted each by itself, and
MOST_OF_LOGGER = 64  # of one logger; the others of a logger are counted together
LONGEST_TEXT = 500  # characters that tell kinds apart
_VERDICT = "is_due"  # attribute of a record that was judged
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|\d+")

Kind = tuple[str, int, str]  # logger, level, text with "#" for numbers and quotations


@dataclass
class _Count:
    """Lines of a kind: how many there were, and when the newest came and the newest was written (monotonic seconds)."""

    number: int = 0
    seen_at: float = 0.0
    written_at: float = 0.0


class RepeatFilter(logging.Filter):
    """Passes the 1st, 2nd, 4th, 8th ... line of a kind with its number; of our own loggers, the first BURST as well.

    Lines are of one kind if they differ in numbers and quotations only. Tracebacks come with the 1st, 2nd, 4th, 8th ...
    of those that end at the same place. Debug lines pass: the user has asked for them. One filter may serve several
    handlers; it judges each record once.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now, self._lock = now, threading.Lock()
        self._counts: OrderedDict[Kind, _Count] = OrderedDict()  # the one that came last is at the end
        self._of_logger: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if record.levelno < logging.INFO:
            return True
        judged = record.__dict__
        if _VERDICT not in judged:
            with self._lock:
                judged[_VERDICT] = self._judge(record)
        return bool(judged[_VERDICT])

    def _judge(self, record: logging.LogRecord) -> bool:
        _drop_traceback_of_clients(record)
        text = _message(record)
        kind, others = self._kind(record, text)
        now, count = self._now(), self._counts.pop(kind)
        if now - count.seen_at > FORGET_SECONDS:
            count.number = 0
        count.number, count.seen_at = count.number + 1, now
        self._counts[kind] = count
        is_power = count.number & (count.number - 1) == 0
        burst = BURST if _is_ours(record) else 1
        if count.number > burst and not is_power and now - count.written_at < LONGEST_PAUSE:
            return False
        count.written_at = now
        if not is_power:
            record.exc_info = record.exc_text = record.stack_info = None
        if count.number > burst:
            record.msg, record.args = f"{text} ({count.number} {'others like it' if others else 'times'})", None
        return True

    def _kind(self, record: logging.LogRecord, text: str) -> tuple[Kind, bool]:
        """The kind of a record, which is counted now, and whether that is the one of a logger's other lines."""
        where = f" {_place(record)}" if record.exc_info else ""
        kind = record.name, record.levelno, _VARIABLE.sub("#", text[:LONGEST_TEXT]) + where
        if kind in self._counts:
            return kind, False
        is_full = self._of_logger.get(record.name, 0) >= MOST_OF_LOGGER
        if is_full:
            kind = record.name, record.levelno, ""
        if kind not in self._counts:
            self._add(kind)
        return kind, is_full

    def _add(self, kind: Kind) -> None:
        self._counts[kind] = _Count(written_at=self._now())
        self._of_logger[kind[0]] = self._of_logger.get(kind[0], 0) + 1
        if len(self._counts) > MOST_KINDS:
            (name, _, _), _ = self._counts.popitem(last=False)
            self._of_logger[name] -= 1


def _message(record: logging.LogRecord) -> str:
    """The text of a record, also if its arguments do not fit."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, AttributeError):
        return str(record.msg)


def _place(record: logging.LogRecord) -> str:
    """Where the traceback of a record ends, as "server.py:12"."""
    found = traceback.extract_tb(record.exc_info[2])[-1:] if record.exc_info else []
    return f"{found[0].filename}:{found[0].lineno}" if found else ""


def _drop_traceback_of_clients(record: logging.LogRecord) -> None:
    """Drop the traceback of a library's line about a client's text that is not UTF-8: the line says it all."""
    if not _is_ours(record) and record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
        record.exc_info = None


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a module of this package has written it."""
    return record.name.partition(".")[0] == __name__.partition(".")[0]
