"""Daemon: a real daemon in a process of its own, as a user starts it, for tests and soaks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from lcm_daemon.core.paths import state_file

PORTS = range(20000, 32000)  # below the ports that Linux, macOS and Windows give to sockets bound to port 0
_places = itertools.count(os.getpid() * 97)  # test runs at the same time begin at different places
START = 60.0  # seconds until it must answer


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that no program is bound to and that the system gives to none by itself, each one once."""
    while True:
        port = PORTS[next(_places) % len(PORTS)]
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("", port))
            return port


def wait_for(condition: Callable[[], Any], seconds: float = 30.0, what: str = "the condition") -> Any:
    """Poll until `condition` gives something true, and return that; fail after `seconds`."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about within {seconds} s")


class Daemon:
    """`with Daemon(folder, {...show...}) as daemon:`; ports are free ones, log in `daemon.log()`.

    It keeps no spare engine, whose process would start beside every test, unless the show has the key `engine`.
    """

    def __init__(self, folder: Path, show: Mapping[str, Any], command: tuple[str, ...] = ()) -> None:
        self.osc_port, self.panel_port = free_port(socket.SOCK_DGRAM), free_port()
        self.show = folder / "show.yaml"
        own = {"osc": {"port": self.osc_port}, "panel": {"port": self.panel_port}, "engine": {"spare": False}}
        self.show.write_text(yaml.safe_dump({**own, **show}))
        self._log = folder / "log.txt"
        self._command = [*command, sys.executable, "-m", "lcm_daemon", "run", str(self.show)]

    def __enter__(self) -> Daemon:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(self._answers, START, "the daemon's first answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # as Ctrl-C: a later run begins with the show's own look
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if kind is not None:
            print(self.log())

    def status(self) -> dict[str, Any]:
        """The status as the panel serves it; empty while nobody answers."""
        found: dict[str, Any] = self.health("status")
        return found

    def values(self) -> dict[str, Any]:
        """Every parameter's value; empty while nobody answers."""
        found: dict[str, Any] = self.health("values")
        return found

    def health(self, part: str) -> Any:
        """A part of what the panel serves at /health; empty while it serves nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.panel_port}/health", timeout=2) as answer:
                return json.load(answer)[part]
        except (OSError, ValueError):
            return {}

    def wait_rendering(self, seconds: float = 60.0, not_by: int = 0) -> dict[str, Any]:
        """Wait until an engine renders, another than the one with the process id `not_by`."""
        def renders() -> dict[str, Any] | None:
            status = self.status()
            good = status and status["fps"] > 0 and status["engine"] == "rendering"
            return status if good and status["engine_pid"] != not_by else None
        found: dict[str, Any] = wait_for(renders, seconds, "a rendering engine")
        return found

    def signal_engine(self, number: int) -> int:
        """Send a signal to the engine's process; returns its process id."""
        pid = int(wait_for(lambda: self.status().get("engine_pid"), 30, "an engine"))
        os.kill(pid, number)
        return pid

    def kill_desk(self) -> int:
        pid = int(wait_for(lambda: self.status().get("desk_pid"), 30, "a desk"))
        os.kill(pid, signal.SIGKILL)
        return pid

    def kept(self) -> str:
        """What a power cut would leave of the show: the text of its resume file, empty while there is none."""
        file = state_file(self.show, ".journal")
        return file.read_text("utf-8") if file.exists() else ""

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")
        return bool(self.status())
