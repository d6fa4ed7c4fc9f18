"""A daemon whose show closes and opens, by a file that is reloaded: its picture and its processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from lcm_daemon.transports.shared_memory import MemorySource
from tests.daemon.test_show_reload import daemon_send
from tests.rigs.daemon import Daemon, wait_for

NAME = f"hours-{os.getpid()}"
SHOW: dict[str, Any] = {
    "recipe": "passthrough", "output": {"size": [64, 64], "fps": 30}, "midi": False,
    "sinks": [{"transport": "memory", "name": NAME}],
    "opening_hours": {"closed_on": "daily", "closed": {"fade": 0.5}, "playlist": {"cues": ["dawn"], "every": 60}},
    "cues": [{"name": "dawn", "set": {"strength": 0.2}}],
}


def test_a_closed_show_is_black_without_an_engine_and_opens_and_closes(tmp_path: Path) -> None:
    bus = MemorySource({"name": NAME})

    def light() -> float:
        frame = bus.read(1.0)
        assert frame is not None
        return float(np.mean(frame.pixels[..., :3]))

    def reload(closed_on: str | None) -> None:
        hours = {**SHOW["opening_hours"], "closed_on": closed_on}
        shown = yaml.safe_load(daemon.show.read_text())
        daemon.show.write_text(yaml.safe_dump({**shown, "opening_hours": hours}))
        daemon_send(daemon, "/lcm/show/reload")

    with Daemon(tmp_path, SHOW) as daemon:
        bus.open()
        for _ in range(10):
            assert light() == 0.0
        status = daemon.status()
        assert (status["hours"], status["hours_open"], status["engine"], status["engine_pid"]) == (
            "closed", False, "unloaded", 0)
        assert (status["failsafe"], status["alarm"], status["cue"]) == (False, "", "")
        reload(None)
        status = daemon.wait_rendering()
        assert (status["hours_open"], status["cue"]) == (True, "dawn")
        wait_for(lambda: light() > 10.0, 10, "the picture")
        reload("daily")
        wait_for(lambda: daemon.status().get("engine") == "unloaded", 20, "the end of the engine")
        assert light() == 0.0
        wait_for(lambda: not psutil.pid_exists(status["engine_pid"]), 10, "the end of its process")
        longest, before, end = 0.0, time.perf_counter(), time.perf_counter() + 1.0
        while time.perf_counter() < end:
            assert light() == 0.0
            longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
        assert longest < 0.5, "the output keeps its rate"
        bus.close()
