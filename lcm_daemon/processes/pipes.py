"""Connection: the type of a pipe's end, which differs between systems; and waiting for many of them."""

from __future__ import annotations

import math
import select
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection  # what Pipe() returns there
else:
    from multiprocessing.connection import Connection

__all__ = ["IMPORTED", "Connection", "readiness", "wait_for_any"]

IMPORTED = "imported"  # what a child says that was started before its work was known, once its modules are imported

MOST_HANDLES = 60 if sys.platform == "win32" else 0  # Windows waits for 63 objects at once; 0: no limit
LOOK_SECONDS = 0.002  # how often the caller looks at the others


def wait_for_any(waitables: Sequence[Any], seconds: float, most: int = MOST_HANDLES) -> None:
    """Wait up to `seconds` for one of these to be ready, or for a shorter time if there are more than `most`."""
    if 0 < most < len(waitables):
        waitables, seconds = waitables[:most], min(seconds, LOOK_SECONDS)
    if sys.platform == "win32":
        wait(waitables, seconds)
        return
    poller = select.poll()  # what `wait` does too, at twice the price
    for each in waitables:
        poller.register(each, select.POLLIN)
    poller.poll(math.ceil(1000 * seconds))


def readiness(pipe: Connection) -> Callable[[], bool]:
    """A function that says whether a message has arrived, or the other end has gone.

    `Connection.poll` makes a selector for each question; where a pipe is asked a hundred times a second, that is a
    tenth of all work.
    """
    if sys.platform == "win32":
        return pipe.poll
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    return lambda: pipe.closed or bool(poller.poll(0))
