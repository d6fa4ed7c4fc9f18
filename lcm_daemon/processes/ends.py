"""Ends: why a child process was replaced."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from lcm_daemon.core.errors import BROKEN
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.protocol import Failed

DIED, HANGS = "died", "does not answer"  # what a supervisor says of a child that has said nothing itself
_CAUSES = {DIED: "died", HANGS: "hung"}


@dataclass(frozen=True)
class End:
    """The end of a child that was not meant to end.

    Attributes:
        kind: What it was: "engine", "desk", "audience".
        child: The process. Its exit code is known once it has ended.
        cause: In one word, as `cause_of` returns it.
        text: In the words of the log.
        facts: What else is known of it.
    """

    kind: str
    child: Child
    cause: str
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)


def cause_of(failed: Failed) -> str:
    """died, hung, memory (the device was full), lost (the machine or the connection to it), nan, or error."""
    if failed.memory:
        return "memory"
    if failed.lost:
        return "lost"
    if BROKEN in failed.text:
        return "nan"
    return _CAUSES.get(failed.text, "error")


def describe_exit(code: int | None) -> str:
    """An exit code of multiprocessing in words: "signal SIGSEGV", "exit code 1"."""
    if code is None:
        return "it has not ended yet"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
