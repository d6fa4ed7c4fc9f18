"""What monitors see of a running daemon, and what it tells by itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lcm_daemon.core.paths import state_folder
from tests.rigs.daemon import Daemon, wait_for

PROMPT = "the private words of a show"
FLOOD = 400  # requests of one kind


def ask(daemon: Daemon, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.panel_port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def number(daemon: Daemon, name: str) -> float | None:
    found = [line for line in ask(daemon, "/metrics")[1].splitlines() if line.startswith(f"lcm_daemon_{name} ")]
    return float(found[0].rpartition(" ")[2]) if found else None


def reports(pids: Collection[int]) -> list[Path]:
    """The reports of these engines: other tests of this process leave theirs in the same folder."""
    found = (state_folder() / "crash-reports").glob("*-engine-*.txt")
    return sorted(path for path in found if int(path.stem.rpartition("-")[2]) in pids)


def flood(daemon: Daemon) -> None:
    """Send what no client should: bad requests, text that is not UTF-8, packets that are not OSC."""
    for _ in range(FLOOD):
        with socket.create_connection(("127.0.0.1", daemon.panel_port), 10) as client:
            client.sendall(b"\xff\xfe{}\r\n\r\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for count in range(FLOOD):
            sender.sendto(b"/lcm/prompt\0,s\0\0\xff\xfe\xff\0", ("127.0.0.1", daemon.osc_port))
            sender.sendto(b"%08d" % count, ("127.0.0.1", daemon.osc_port))


def test_a_show_that_is_watched(tmp_path: Path) -> None:
    told = tmp_path / "told.txt"
    command = (f"import os, sys; open({str(told)!r}, 'a').write(os.environ['LCM_ALARM_STATE'] + ' ' + "
               "os.environ['LCM_ALARM_CAUSE'] + chr(10))")
    show: dict[str, Any] = {
        "name": "watched", "recipe": "passthrough", "resume": False, "parameters": {"prompt": PROMPT},
        "output": {"size": [64, 64]}, "source": {"transport": "testcard", "size": [64, 64]}, "sinks": [],
        "log": {"file": "logs/show.log", "format": "json"},
        "alarms": {"command": [sys.executable, "-c", command], "after": 0.2, "pause": 0.5},
    }
    with Daemon(tmp_path, show) as daemon:
        wait_for(lambda: ask(daemon, "/readyz")[0] == 200, 60, "a ready show")
        assert json.loads(ask(daemon, "/livez")[1])["alive"]
        assert number(daemon, "ready") == 1
        wait_for(lambda: (number(daemon, 'frames_total{of="rendered"}') or 0) > 10, 30, "rendered frames")

        flood(daemon)
        killed = []
        for _ in range(2):  # the second engine that fails within a minute raises the alarm
            before = wait_for(lambda: daemon.status().get("engine_pid"), 30, "an answer after the flood")
            os.kill(before, signal.SIGSEGV)
            killed.append(before)
            wait_for(lambda old=before: daemon.status().get("engine_pid") not in (None, 0, old), 60, "the next engine")
            wait_for(lambda: daemon.status().get("engine") == "rendering", 60, "an engine that renders")
        wait_for(lambda: number(daemon, 'restarts_total{cause="died",process="engine"}') == 2, 30, "the restarts")
        wait_for(lambda: told.exists() and "begins engine" in told.read_text(), 60, "the message about the alarm")

        found = wait_for(lambda: len(list_of := reports(killed)) == 2 and list_of, 30, "the reports")
        text = found[0].read_text()
        assert "signal SIGSEGV" in text
        assert "Fatal Python error: Segmentation fault" in text
        assert PROMPT not in text
    lines = [json.loads(line) for line in (tmp_path / "logs" / "show.log").read_text().splitlines()]
    assert {"stage", "desk"} <= {line["process"] for line in lines}
    assert len(lines) < 150, "a flood fills no log"
