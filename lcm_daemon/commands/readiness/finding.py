"""Finding: one line of the report on a show, and the verdict on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

OK: Literal["ok"] = "ok"
NOTE: Literal["note"] = "note"
FAULT: Literal["fault"] = "fault"
Grade = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        subject: What it is about: "port 9000".
        text: What was found, and what to do, in one line.
        grade: OK; NOTE, to be read; FAULT, with which the show must not open.
    """

    subject: str
    text: str
    grade: Grade = OK

    def __str__(self) -> str:
        return f"  {self.grade:7}  {self.subject:16} {self.text}"


def verdict(show: str, findings: Sequence[Finding]) -> str:
    """One line: whether the show can open, and why not."""
    faults = [f"{one.subject}: {one.text}" for one in findings if one.grade == FAULT]
    if faults:
        return f"{show} is not ready to open: {'; '.join(faults)}"
    notes = sum(one.grade == NOTE for one in findings)
    return f"{show} is ready to open{f', with {_counted(notes)}' if notes else ''}"


def _counted(notes: int) -> str:
    return "one note above" if notes == 1 else f"{notes} notes above"
