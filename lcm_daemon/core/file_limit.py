"""How many files and connections a process may have open."""

from __future__ import annotations

import contextlib
import sys

MOST = 65_536  # that a process asks for; some loops over descriptors take as long as there may be
WITHOUT_LIMIT = 8192  # what Windows allows, roughly
RESERVED = 192  # for what is not a connection: libraries, devices, pipes, shared memory


def raise_file_limit() -> int:
    """Let this process, and those that it starts, open as many files as the system allows. Returns how many."""
    if sys.platform == "win32":
        return WITHOUT_LIMIT
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    with contextlib.suppress(OSError, ValueError):
        if soft != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


def most_connections(servers: int) -> int:
    """How many connections each of several servers in this process may have, so that files are left for all else."""
    return max((raise_file_limit() - RESERVED) // servers, 8)
