"""A show with several engines: one dies, one is stopped, one joins by a reload; the others render on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.sync.client import connect

from tests.rigs.daemon import Daemon, wait_for

pytestmark = [pytest.mark.daemon, pytest.mark.slow]
SHOW: dict[str, Any] = {
    "recipe": {"base": "passthrough", "pipeline": "timed_copy", "schedule": {"service": 0.1}},
    "source": {"transport": "testcard", "fps": 60}, "output": {"size": [64, 64], "fps": 30}, "sinks": [],
    "engine": {"spare": False}, "engines": {"device": "cpu", "engines": 3}, "midi": False, "resume": False,
}


def rows(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """The engines that `/health` lists, by name; none while no page is served."""
    return {row["name"]: row for row in daemon.health("engines")}


def command(daemon: Daemon, name: str, *arguments: Any) -> None:
    with connect(f"ws://127.0.0.1:{daemon.panel_port}/ws", max_size=None) as page:
        page.recv()
        page.send(json.dumps({"command": {"name": name, "arguments": list(arguments)}}))
        time.sleep(0.1)  # the daemon reads it before the connection ends


def rendering(daemon: Daemon) -> list[str]:
    return [name for name, row in rows(daemon).items() if row["state"] == "rendering" and row["fps"] > 0]


def test_engines_die_leave_and_join_while_the_others_render(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon:
        wait_for(lambda: rendering(daemon) == ["cpu", "cpu 2", "cpu 3"], 60, "three engines")
        wait_for(lambda: daemon.status()["fps"] > 16.0, 20, "more than one engine's 10 frames a second")
        assert daemon.status()["engines"] == "3 of 3 render"
        before = rows(daemon)
        os.kill(before["cpu 2"]["pid"], signal.SIGKILL)
        wait_for(lambda: rows(daemon)["cpu 2"]["pid"] not in (0, before["cpu 2"]["pid"]), 20, "its replacement")
        assert daemon.status()["fps"] > 0
        wait_for(lambda: rendering(daemon) == ["cpu", "cpu 2", "cpu 3"], 60, "three engines again")

        command(daemon, "engine/stop", "cpu 2")
        wait_for(lambda: rows(daemon)["cpu 2"]["state"] == "stopped", 10, "the stop")
        assert rendering(daemon) == ["cpu", "cpu 3"]
        command(daemon, "engine/stop", "cuda:7")
        wait_for(lambda: "no engine 'cuda:7'; the show has cpu, cpu 2, cpu 3" in daemon.log(), 10, "the refusal")

        content = yaml.safe_load(daemon.show.read_text())
        daemon.show.write_text(yaml.safe_dump({**content, "engines": {"device": "cpu", "engines": 4}}))
        command(daemon, "show/reload")
        wait_for(lambda: "cpu 4" in rendering(daemon), 60, "the engine that joins")
        after = rows(daemon)
        assert [after[name]["pid"] for name in ("cpu", "cpu 3")] == [before[name]["pid"] for name in ("cpu", "cpu 3")]
        assert after["cpu 2"]["state"] == "stopped", "the reload starts nothing that was stopped by hand"
        command(daemon, "engine/start", "cpu 2")
        wait_for(lambda: len(rendering(daemon)) == 4, 60, "all four")
