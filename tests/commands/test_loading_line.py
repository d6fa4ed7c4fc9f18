"""The line that is printed while the first model loads."""

from __future__ import annotations

import io

from lcm_daemon.commands.loading_line import CLEAR, LINE_SECONDS, LoadingLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Script:
    """States of an engine, one a second."""

    def __init__(self, *states: str) -> None:
        self.states, self.now = list(states), 0.0
        self.ended: list[float] = []

    def play(self, output: io.StringIO, seconds: float = 1.0) -> str:
        line = LoadingLine(lambda: self.states[0], output, self.ended.append, lambda: self.now)
        while line.step():
            self.states.pop(0)
            self.now += seconds
        return output.getvalue()


def test_a_terminal_has_one_live_line() -> None:
    script = Script("loading a: loading", "loading a: reading weights", "x" * 200, "")
    shown = script.play(Terminal())
    assert shown == (f"{CLEAR}loading a: loading, 0 s\r{CLEAR}loading a: reading weights, 1 s\r"
                     f"{CLEAR}{'x' * 78}\r{CLEAR}")
    assert script.ended == [3.0]


def test_elsewhere_there_are_plain_lines_and_not_many() -> None:
    script = Script("a", "a", "b", "c", "")
    assert script.play(io.StringIO(), LINE_SECONDS / 2) == "a\nb\n"
    assert Script("").play(io.StringIO()) == ""


def test_an_output_that_is_closed_is_no_error() -> None:
    closed = io.StringIO()
    line = LoadingLine(lambda: "a", closed, print)
    closed.close()
    assert line.step()


def test_it_ends_when_it_is_stopped() -> None:
    line = LoadingLine(lambda: "a", io.StringIO(), print)
    line.start()
    line.stop()
    assert not line._thread.is_alive()


def test_a_show_that_never_opened_stops_a_line_that_never_started() -> None:
    LoadingLine(lambda: "a", io.StringIO(), print).stop()
