"""A whole daemon that is killed, as a power cut does it, and started again."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from lcm_daemon.controllers.osc.sender import send
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


def test_a_killed_show_and_one_that_is_shut_down_keep_their_look_and_ctrl_c_forgets_it(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon:
        play(daemon)
        time.sleep(0.1)  # what was accepted this long ago must be there
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
        assert (daemon.status()["cue"], daemon.values()["prompt"]) == ("storm", "lava")
        assert "resume file: the last run was shut down; restoring" in daemon.log()
        daemon.process.send_signal(signal.SIGINT)
        daemon.process.wait(10)
    with Daemon(tmp_path, SHOW) as daemon:
        assert (daemon.status()["cue"], daemon.values()["prompt"]) == ("", "clouds")


def test_a_show_may_start_with_its_own_look_whatever_happened(tmp_path: Path) -> None:
    with Daemon(tmp_path, {**SHOW, "resume": False}) as daemon:
        play(daemon)
        time.sleep(0.5)  # in which it would have been kept
        assert daemon.kept() == ""
        daemon.process.kill()
        daemon.process.wait()
    with Daemon(tmp_path, {**SHOW, "resume": False}) as daemon:
        assert daemon.values()["prompt"] == "clouds"
