"""One line for each finding, and one verdict."""

from __future__ import annotations

from lcm_daemon.commands.readiness.finding import FAULT, NOTE, Finding, verdict

GOOD, ODD, BAD = Finding("clock", "set"), Finding("disk", "1 GB free", NOTE), Finding("port", "in use", FAULT)


def test_the_verdict_names_every_fault() -> None:
    assert verdict("mirror", [GOOD]) == "mirror is ready to open"
    assert verdict("mirror", [GOOD, ODD]) == "mirror is ready to open, with one note above"
    assert verdict("mirror", [ODD, ODD]).endswith("with 2 notes above")
    assert verdict("mirror", [BAD, ODD, BAD]) == "mirror is not ready to open: port: in use; port: in use"


def test_a_line_begins_with_its_grade() -> None:
    assert str(BAD).split() == ["fault", "port", "in", "use"]
