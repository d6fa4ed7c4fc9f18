"""A desk that is killed or stopped while a show plays, and a show that is ended before its desk is open."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.rigs.daemon import Daemon, wait_for

SHOW = {"source": {"transport": "testcard"}, "recipe": "passthrough", "sinks": [], "resume": False,
        "output": {"size": [64, 64], "fps": 30}}

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="signals of POSIX")


def test_no_message_is_lost_or_carried_out_twice_when_the_desk_goes(tmp_path: Path) -> None:
    with Daemon(tmp_path, SHOW) as daemon, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("127.0.0.1", daemon.osc_port))
        sent, pids = 0, []
        for number in (signal.SIGSTOP, signal.SIGKILL):
            pids.append(int(wait_for(lambda: daemon.status().get("desk_pid"), 30, "a desk")))
            for each in range(200):
                peer.send(encode("/lcm/adjust", ["seed", 1]))
                sent += 1
                if each == 100:
                    os.kill(pids[-1], number)
                time.sleep(0.002)
            wait_for(lambda so_far=sent: daemon.values().get("seed") == so_far, 60, f"{sent} moves")
        assert daemon.status()["desk_pid"] not in pids
        assert pids[0] != pids[1]


def test_a_signal_ends_a_show_whose_desk_never_opens(tmp_path: Path) -> None:
    show = tmp_path / "show.yaml"
    show.write_text("source: {transport: testcard}\nrecipe: passthrough\nsinks: []\nosc: false\npanel: {port: 0}\n"
                    "engine: {spare: false}\n")
    with subprocess.Popen([sys.executable, "-m", "lcm_daemon", "run", str(show)]) as process:
        def spawned() -> list[psutil.Process]:
            children = psutil.Process(process.pid).children()
            return [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        try:
            wait_for(spawned, 20, "the desk's process")
            spawned()[0].suspend()
            wait_for(lambda: len(spawned()) > 1, 30, "the engine's process: the show is being opened")
            process.send_signal(signal.SIGTERM)
            begun = time.perf_counter()
            assert process.wait(25) == 0
            assert time.perf_counter() - begun < 10.0  # 30 s if the desk is waited for
        finally:
            process.kill()
