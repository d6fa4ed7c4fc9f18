"""A whole daemon that is killed, as a power cut does it, and started again."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from lcm_daemon.controllers.osc.sender import send
from lcm_daemon.stage.resume_file import WRITE_INTERVAL
from tests.rigs.daemon import Daemon, wait_for

SHOW: dict[str, Any] = {
    "recipe": "passthrough", "output": {"size": [128, 128], "fps": 30}, "sinks": [], "engine": {"spare": False},
    "cues": [{"name": "dawn", "set": {"strength": 0.2}}, {"name": "storm", "set": {"strength": 0.9}}],
}


def play(daemon: Daemon) -> None:
    """Move something by hand and something by a cue."""
    send("/lcm/prompt", ["lava"], "127.0.0.1", daemon.osc_port)
    send("/lcm/freeze", ["1"], "127.0.0.1", daemon.osc_port)
    send("/lcm/cue/go", [], "127.0.0.1", daemon.osc_port)
    wait_for(lambda: daemon.status().get("cue") == "dawn", what="the cue")
    wait_for(lambda: daemon.values()["prompt"] == "lava", what="the prompt")


def test_a_killed_show_goes_on_with_its_look_and_an_ended_one_begins_anew(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon:
        play(daemon)
        wait_for(lambda: '"lava"' in daemon.kept() and '"dawn"' in daemon.kept(), what="the resume file")
        daemon.process.kill()
        daemon.process.wait()
    with Daemon(tmp_path, SHOW) as daemon:
        values = daemon.values()
        assert (values["prompt"], values["strength"], values["freeze"]) == ("lava", 0.2, False)
        assert daemon.status()["cue"] == "dawn"
        assert "resume file: the last run was interrupted; restoring" in daemon.log()
        send("/lcm/cue/go", [], "127.0.0.1", daemon.osc_port)
        wait_for(lambda: daemon.status()["cue"] == "storm", what="the cue after it")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(10)
    with Daemon(tmp_path, SHOW) as daemon:
        assert daemon.values()["prompt"] == "clouds"
        assert daemon.status()["cue"] == ""


def test_a_show_may_begin_anew_whatever_happened(tmp_path: Path) -> None:
    with Daemon(tmp_path, {**SHOW, "resume": False}) as daemon:
        play(daemon)
        seen = daemon.status()["uptime"]
        wait_for(lambda: daemon.status()["uptime"] > seen + WRITE_INTERVAL + 1, what="the time in which it is kept")
        assert daemon.kept() == ""
        daemon.process.kill()
        daemon.process.wait()
    with Daemon(tmp_path, {**SHOW, "resume": False}) as daemon:
        assert daemon.values()["prompt"] == "clouds"
