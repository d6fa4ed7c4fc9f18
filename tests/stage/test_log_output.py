"""The log follows the show that plays."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lcm_daemon.processes.bootstrap import LogLevels, log_levels, set_up_logging
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.log_output import log_as, log_output


@pytest.fixture(autouse=True)
def own_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = log_levels()
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.INFO))
    monkeypatch.setattr(logging.Logger, "root", logging.root)
    yield
    for handler in logging.root.handlers:
        handler.close()
    monkeypatch.setattr("lcm_daemon.processes.bootstrap._levels", before)


def show(tmp_path: Path, name: str, text: str) -> Show:
    (tmp_path / f"{name}.yaml").write_text(f"recipe: passthrough\n{text}\n")
    return load_show(tmp_path / f"{name}.yaml", environment={})


def test_another_show_has_its_own_log_file(tmp_path: Path) -> None:
    one, two = (show(tmp_path, name, f"log: {{file: {name}.log}}") for name in ("one", "two"))
    set_up_logging(LogLevels(logging.INFO, {"lcm_daemon.render": logging.DEBUG}, log_output(one)))
    logging.root.info("of one")
    log_as(two)
    logging.root.info("of two")
    for handler in logging.root.handlers:
        handler.flush()
    assert (tmp_path / "two.log").read_text().endswith("of two\n")
    assert "of two" not in (tmp_path / "one.log").read_text()
    assert log_levels().loggers == {"lcm_daemon.render": logging.DEBUG}
    assert log_levels().output.file == str(tmp_path / "two.log")


def test_the_same_log_is_left_alone(tmp_path: Path) -> None:
    one = show(tmp_path, "one", "")
    set_up_logging(LogLevels(output=log_output(one)))
    handlers = list(logging.root.handlers)
    log_as(one)
    assert logging.root.handlers == handlers


def test_no_reports_no_recent_lines(tmp_path: Path) -> None:
    assert log_output(show(tmp_path, "one", "crash_reports: {keep: 0}")).recent == ""
    assert Path(log_output(show(tmp_path, "two", "")).recent).name.startswith("two-")
