"""Lines that are repeated do not fill a log; the first ones, and how many there were, are in it."""

from __future__ import annotations

import logging
import sys

import pytest

from lcm_daemon.processes.repeats import BURST, FORGET_SECONDS, LONGEST_PAUSE, MOST_KINDS, RepeatFilter


class Log:
    """A filter with a clock that the test moves. write() returns the text that comes out, "" if none does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.filter = RepeatFilter(lambda: self.now)

    def write(self, text: str, *args: object, name: str = "lcm_daemon.controllers", level: int = logging.WARNING,
              error: BaseException | None = None) -> str:
        info = (type(error), error, error.__traceback__) if error else None
        self.record = logging.LogRecord(name, level, "", 0, text, args, info)
        return self.record.getMessage() if self.filter.filter(self.record) else ""


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error):
        return sys.exc_info()[1]  # type: ignore[return-value]


def test_the_first_lines_of_a_kind_are_written_then_fewer_and_fewer() -> None:
    log = Log()
    written = [text for text in (log.write("Invalid request") for _ in range(20_000)) if text]
    assert written[:BURST] == ["Invalid request"] * BURST
    assert written[BURST:BURST + 2] == ["Invalid request (32 times)", "Invalid request (64 times)"]
    assert len(written) < BURST + 12


def test_a_library_writes_the_first_lines_more_rarely() -> None:
    log = Log()
    written = [text for text in (log.write("Invalid request", name="uvicorn.error") for _ in range(100)) if text]
    assert written == ["Invalid request", *(f"Invalid request ({n} times)" for n in (2, 4, 8, 16, 32, 64))]


@pytest.mark.parametrize("text", ["route /{n}", "byte 0x{n:x} at {n}", "'{n}abc' is not a name", 'got "{n}"'])
def test_lines_that_differ_in_numbers_and_quotations_are_of_one_kind(text: str) -> None:
    log = Log()
    assert len([n for n in range(1000) if log.write(text.format(n=n))]) == BURST + 5


def test_a_client_that_invents_texts_fills_no_log() -> None:
    log = Log()
    written = [text for n in range(20_000) if (text := log.write("bad " + "x" * (n % 400) + "y" * (n // 400)))]
    assert len(written) < 64 * BURST
    assert "others like it)" in written[-1]
    assert log.write("another module", name="lcm_daemon.render") == "another module"


def test_many_loggers_take_no_more_memory() -> None:
    log = Log()
    for n in range(3 * MOST_KINDS):
        log.write(f"of {n}", name=f"module{n}")
    assert len(log.filter._counts) == MOST_KINDS


def test_a_kind_that_was_silent_for_long_begins_again_and_one_that_lasts_is_seen_every_hour() -> None:
    log = Log()
    for _ in range(40):
        log.write("gone")
    log.now += FORGET_SECONDS + 1
    assert log.write("gone") == "gone"
    hours = 0
    for _ in range(int(24 * 3600 / 60)):
        log.now += 60
        hours += bool(log.write("gone"))
    assert 24 <= hours <= BURST + 24 + 8
    assert LONGEST_PAUSE == 3600


def test_tracebacks_come_with_the_1st_2nd_4th() -> None:
    log = Log()
    shown = []
    for number in range(1, 17):
        log.write("failed", error=raised(KeyError(number)))
        shown += [number] if log.record.exc_info else []
    assert shown == [1, 2, 4, 8, 16]


def test_a_library_gives_no_traceback_for_text_of_a_client_that_is_not_utf_8() -> None:
    log = Log()
    error = raised(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))
    assert log.write("Invalid request", name="uvicorn.error", error=error)
    assert log.record.exc_info is None
    assert log.write("a file of ours", name="lcm_daemon.shows", error=error)
    assert log.record.exc_info is not None


def test_debug_lines_pass_and_wrong_arguments_do_no_harm() -> None:
    log = Log()
    assert all(log.write("frame", level=logging.DEBUG) for _ in range(100))
    record = logging.LogRecord("libav", logging.WARNING, "", 0, "%d frames", ("many",), None)
    assert log.filter.filter(record)


def test_one_filter_of_several_handlers_counts_a_record_once() -> None:
    log = Log()
    for number in range(BURST + 1):
        passed = bool(log.write("again"))
        assert log.filter.filter(log.record) == passed == (number < BURST)
