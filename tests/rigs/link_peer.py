"""Another program in an Ableton Link session, for the tests: `peer = net.start(play)`, in a network namespace."""

from __future__ import annotations

import asyncio
import time
from multiprocessing.connection import Connection
from typing import Any

from lcm_daemon.core.tempo import BEATS
from tests.rigs.network import Child

PATIENCE = 20.0  # seconds, only ever spent where a test fails


def play(pipe: Connection) -> None:
    """Join the session. Set what comes through the pipe, and send time, beat, tempo and the number of other peers."""
    async def run() -> None:
        from aalink import Link

        session = Link(128.0)
        session.quantum, session.start_stop_sync_enabled = float(BEATS), True
        session.enabled = True
        while True:
            if pipe.poll():
                for name, value in pipe.recv().items():
                    setattr(session, name, value)
            pipe.send((time.perf_counter(), session.beat, session.tempo, session.num_peers))
            await asyncio.sleep(0.02)
    asyncio.run(run())


def newest(child: Child) -> Any:
    """The last message of a child; waits for one."""
    found = child.receive(PATIENCE)
    while child.pipe.poll():
        found = child.receive(PATIENCE)
    return found
