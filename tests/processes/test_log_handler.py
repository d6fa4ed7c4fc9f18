"""Log lines that nobody reads keep nobody waiting; those that somebody reads all come out."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading

import pytest

from lcm_daemon.processes.log_handler import LogHandler

CHATTER = """
import logging, sys, time
from lcm_daemon.processes.bootstrap import LogLevels, set_up_logging
set_up_logging(LogLevels(logging.DEBUG))  # debug lines are not throttled
begun = time.perf_counter()
for number in range(20_000):
    logging.getLogger("chatter").debug("line %d %s", number, "x" * 80)
print(time.perf_counter() - begun)
"""


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, "", 0, text, None, None)


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_delays_neither_the_work_nor_the_end() -> None:
    process = subprocess.Popen([sys.executable, "-c", CHATTER], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    seconds = process.stdout.readline()  # and never a byte of standard error
    assert float(seconds) < 30.0
    assert process.wait(30) == 0
    process.stderr.close()


def test_what_is_read_comes_out_whole_also_at_the_end() -> None:
    script = CHATTER.replace("20_000", "500")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 500
    assert "chatter: line 499 " in lines[-1]


class Gate(io.StringIO):
    """A reader who looks away until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.opened.wait(30)
        return super().write(text)


def test_what_could_not_be_kept_is_said_once_the_reader_is_back() -> None:
    gate = Gate()
    journal = LogHandler(gate, lines=3)
    journal.emit(record("first"))
    assert gate.entered.wait(30)
    for number in range(10):
        journal.emit(record(f"line {number}"))
    gate.opened.set()
    journal.flush()
    assert gate.getvalue().splitlines() == [
        "first", "line 0", "(7 log lines dropped)", "line 1", "line 2"]


def test_a_reader_who_has_gone_is_no_error() -> None:
    stream = io.StringIO()
    journal = LogHandler(stream)
    stream.close()
    journal.emit(record("to nobody"))
    journal.flush()
    assert not journal._lines.unfinished_tasks


def test_a_line_whose_arguments_do_not_fit_is_written_and_raises_nothing() -> None:
    stream = io.StringIO()
    journal = LogHandler(stream)
    journal.emit(logging.LogRecord("libav", logging.WARNING, "", 0, "%d frames", ("many",), None))
    journal.flush()
    assert "%d frames ('many',)" in stream.getvalue()


def test_a_closed_handler_writes_what_waits_and_ends_its_thread() -> None:
    stream = io.StringIO()
    journal = LogHandler(stream)
    journal.emit(record("last"))
    journal.close()
    assert journal._thread is not None
    journal._thread.join(30)
    assert not journal._thread.is_alive()
    assert stream.getvalue() == "last\n"
