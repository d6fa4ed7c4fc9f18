"""A show that is left alone: an output that needs a person is in the status, and a sender that returns is seen."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.transports.shared_memory import MemorySink
from tests.rigs.daemon import Daemon, wait_for

NAME = f"care{os.getpid()}"
CARE = {"failsafe": 1, "orbit": {"pixels": 2, "every": 1}}
FAILSAFE = "the output has shown the failsafe for more than 1 s"


@contextlib.contextmanager
def sender() -> Iterator[None]:
    """A memory sender on a thread of its own."""
    end = threading.Event()

    def send() -> None:
        with contextlib.closing(MemorySink({"name": NAME})) as sink:
            sink.open((64, 64), 30.0)
            for number in itertools.count():
                sink.write(Frame(solid((64, 64), (20, 200, 20, 255)), number, time.perf_counter()))
                if end.wait(1 / 30):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(5)


def test_a_lost_source_raises_an_alarm_until_it_returns(tmp_path: Path) -> None:
    show = {
        "recipe": "passthrough", "source": {"transport": "memory", "name": NAME}, "care": CARE, "sinks": [],
        "output": {"size": [64, 64], "fps": 30, "failsafe": "slate", "hold_seconds": 0.5},
    }
    with Daemon(tmp_path, show) as daemon:
        with sender():
            daemon.wait_rendering()
            wait_for(lambda: daemon.status().get("disk_free", 0) > 0, 10, "the free space of the disks")
            assert FAILSAFE not in daemon.status()["alarm"]
        wait_for(lambda: FAILSAFE in daemon.status()["alarm"], 10, "the alarm")
        assert FAILSAFE in daemon.log()
        with sender():
            begun = time.perf_counter()
            wait_for(lambda: daemon.status()["failsafe"] is False, 10, "the source")
            assert time.perf_counter() - begun < 2.0
            wait_for(lambda: FAILSAFE not in daemon.status()["alarm"], 5, "the end of the alarm")
