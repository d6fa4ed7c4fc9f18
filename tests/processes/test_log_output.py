"""The log's destinations: standard error, a file of text or JSON, and the recent lines."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.processes import log_output
from lcm_daemon.processes.log_output import JSON, LogOutput, trouble
from lcm_daemon.render.engine import failure_of

FAILURE = "ValueError: twelve"


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("lcm_daemon.test_log_output")
    found.propagate = False
    yield found
    for handler in list(found.handlers):
        handler.close()
        found.removeHandler(handler)
    found.propagate = True


def write(logger: logging.Logger, output: LogOutput, terminal: io.StringIO) -> None:
    for handler in output.handlers(terminal):
        logger.addHandler(handler)
    logger.warning("a %s line", "short")
    try:
        raise ValueError("twelve")
    except ValueError:
        logger.exception("failed")
    for handler in logger.handlers:
        handler.flush()


def test_a_file_has_the_date_and_the_process_and_the_terminal_stays(tmp_path: Path, logger: logging.Logger) -> None:
    terminal = io.StringIO()
    write(logger, LogOutput(str(tmp_path / "a.log")), terminal)
    first, *others = (tmp_path / "a.log").read_text().splitlines()
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(date + r" W stage \d+ lcm_daemon.test_log_output: a short line", first)
    assert others[-1] == FAILURE
    assert re.match(r"\d\d:\d\d:\d\d W lcm_daemon.test_log_output: a short line\n", terminal.getvalue())


FORGED = "a\n2026-11-28 18:00:00.000 W stage 1 x: forged\x1b[2J\x9b2J\u2028b\u202ec\r\x7f"


def test_a_stranger_s_text_forges_no_line_and_moves_no_cursor(tmp_path: Path, logger: logging.Logger) -> None:
    terminal = io.StringIO()
    for handler in LogOutput(str(tmp_path / "a.log"), recent=str(tmp_path / "recent")).handlers(terminal):
        logger.addHandler(handler)
    logger.warning("no source %s", FORGED)
    for handler in logger.handlers:
        handler.flush()
    for text in (terminal.getvalue(), (tmp_path / "a.log").read_text()):
        first, second = text.splitlines()
        assert first.endswith("no source a")
        assert second == (r"    2026-11-28 18:00:00.000 W stage 1 x: forged\x1b[2J\x9b2J\u2028b\u202ec\x0d\x7f")
    (line,) = (tmp_path / "recent").read_text().splitlines()
    assert line.isprintable()
    assert json.loads(line)["message"] == f"no source {FORGED}"


def test_json_lines(tmp_path: Path, logger: logging.Logger) -> None:
    terminal = io.StringIO()
    write(logger, LogOutput(str(tmp_path / "a.log"), format=JSON, recent=str(tmp_path / "recent")), terminal)
    one, two = map(json.loads, (tmp_path / "a.log").read_text().splitlines())
    assert one | {"time": "", "pid": 0} == {
        "time": "", "level": "warning", "process": "stage", "pid": 0, "logger": "lcm_daemon.test_log_output",
        "message": "a short line"}
    assert two["traceback"].endswith(FAILURE)
    assert (tmp_path / "recent").read_text() == (tmp_path / "a.log").read_text()
    assert terminal.getvalue()[2] == ":", "standard error stays text beside a file"


def test_json_on_standard_error_where_there_is_no_file(logger: logging.Logger) -> None:
    terminal = io.StringIO()
    write(logger, LogOutput(format=JSON), terminal)
    assert [json.loads(line)["level"] for line in terminal.getvalue().splitlines()] == ["warning", "error"]


def test_the_first_process_renames_a_full_file_though_it_writes_nothing(
    tmp_path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_output, "LOOK_SECONDS", 0.01)
    write(logger, LogOutput(str(tmp_path / "a.log"), size=500), io.StringIO())
    with (tmp_path / "a.log").open("a") as file:  # as a child does
        file.write("x" * 500 + "\n")
    ends = time.monotonic() + 30
    while not (tmp_path / "a.log.1").exists():
        assert time.monotonic() < ends, "the file was not renamed"
        time.sleep(0.01)


def test_a_log_file_that_cannot_be_written_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.INFO))
    for handler in LogOutput(str(tmp_path), recent=str(tmp_path)).handlers(io.StringIO()):
        logging.root.addHandler(handler)
    assert trouble() == ""
    logging.root.error("lost")
    for handler in logging.root.handlers:
        handler.flush()
        handler.close()
    assert trouble() == f"{tmp_path}: Is a directory"


def test_the_lines_of_a_child_that_fails_are_written_before_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.INFO))
    monkeypatch.setattr(logging.Logger, "root", logging.root)
    monkeypatch.setattr(logging.getLogger("lcm_daemon.render.engine"), "parent", logging.root)
    for handler in LogOutput(recent=str(tmp_path / "recent")).handlers(io.StringIO()):
        logging.root.addHandler(handler)
    failed = failure_of(ValueError("twelve"))
    assert failed.text == FAILURE
    assert FAILURE in (tmp_path / "recent").read_text()
    for handler in logging.root.handlers:
        handler.close()
