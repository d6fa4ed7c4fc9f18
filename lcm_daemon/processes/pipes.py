"""Connection: the type of a pipe's end, which differs between systems."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection  # what Pipe() returns there
else:
    from multiprocessing.connection import Connection

__all__ = ["Connection"]
