"""A recorded daemon for `tests.measure.walks`: started as a user starts it, driven by OSC, watched by /health."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.measure import walks_recorder

PATIENCE = 180.0  # seconds for a start or a recipe change on a busy machine
POLL = 0.5  # seconds between two looks at /health, which is as often as the status changes
ROLES = ("stage", "engine", "desk")


class MeasureError(Exception):
    """A measurement that cannot be made; the text says why."""


@dataclass(frozen=True)
class Report:
    """What one process counted in one window; the fields of `walks_recorder.Window.report`."""

    role: str
    functions: list[tuple[str, str, int, int, int, float]]  # file, name, calls, calls made, slots, time of the first
    holds: list[tuple[int, int, float]]  # function, value, first time
    alone: list[tuple[int, int, float]]  # the same, with the value itself as an argument
    events: list[tuple[float, int]]  # time, function


@dataclass(frozen=True)
class Window:
    """All processes between two moments."""

    seconds: float
    reports: list[Report]

    def of(self, role: str) -> list[Report]:
        return [report for report in self.reports if report.role == role]


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE, pause: float = POLL) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(pause)
    raise MeasureError(f"{what}: not within {seconds:g} s")


class Daemon:
    """`with Daemon(tree, folder, show):` runs the package of `tree`, records it if `recorded`, and ends it."""

    def __init__(self, tree: Path, folder: Path, show: Mapping[str, Any], overrides: Sequence[str] = (),
                 recorded: bool = False) -> None:
        self.osc_port, self.panel_port = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        self.folder, self.tree = folder, tree.resolve()
        folder.mkdir(parents=True)
        ports = {"osc": {"port": self.osc_port}, "panel": {"port": self.panel_port}}
        (folder / "show.yaml").write_text(yaml.safe_dump({**ports, **show}))
        self._niceness = 2 if recorded else 0  # a sender that waits for a loading engine would change the picture
        settings = [word for override in overrides for word in ("--set", override)]
        self._command = [sys.executable, "-m", "lcm_daemon", "run", str(folder / "show.yaml"), *settings]
        self._environment = self._prepare_environment(recorded)
        self._number, self._opened = 0, time.monotonic()
        self._roles: dict[int, str] = {}

    def _prepare_environment(self, recorded: bool) -> dict[str, str]:
        environment = {**os.environ, "LCM_DAEMON_STATE": str(self.folder / "state"), "PYTHONPATH": str(self.tree)}
        environment.pop("WALKS_FOLDER", None)
        environment.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other are slow on a busy machine
        if recorded:
            hook = self.folder / "hook"
            hook.mkdir()
            shutil.copy(walks_recorder.__file__, hook / "sitecustomize.py")
            environment["WALKS_FOLDER"] = str(self.folder)
            environment["WALKS_ROOT"] = f"{self.tree / 'lcm_daemon'}{os.sep}"
            environment["PYTHONPATH"] = f"{hook}{os.pathsep}{self.tree}"
            self._order(0, ())
        return environment

    def __enter__(self) -> Daemon:
        with (self.folder / "log.txt").open("wb") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self.tree, env=self._environment, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.nice(self._niceness))
        try:
            self.wait_playing()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self._end()

    def _end(self) -> None:
        """End the stage, which ends its children; a process that is left after that is ended by its id."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in self._roles:
            if _runs_package(pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        """The status that the panel serves; empty while it does not answer."""
        if self.process.poll() is not None:
            log = (self.folder / "log.txt").read_text(errors="replace")
            raise MeasureError(f"the daemon ended with {self.process.returncode}:\n{log[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.panel_port}/health", timeout=2) as answer:
                status: dict[str, Any] = json.load(answer)["status"]
        except (OSError, ValueError):
            return {}
        known = {self.process.pid: "stage", status.get("engine_pid"): "engine", status.get("desk_pid"): "desk"}
        self._roles.update({int(pid): role for pid, role in known.items() if pid})
        return status

    def wait_playing(self, recipe: str = "") -> None:
        """Wait until an engine renders, `recipe` if it is named, and no change is under way."""
        def plays() -> bool:
            status = self.status()
            if error := status.get("error"):
                raise MeasureError(f"the daemon reports: {error}")
            rendering = status.get("engine") == "rendering" and status.get("fps", 0.0) > 0
            return bool(rendering and not status.get("change") and recipe in ("", status.get("recipe")))
        wait_for(plays, f"a rendering engine {recipe}".strip())

    def watch(self, seconds: float) -> None:
        """Let time pass, asking /health as often as `wait_playing` does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.status()
            time.sleep(POLL)

    def send(self, address: str, value: float | str) -> None:
        """One OSC message with one argument."""
        tag, data = (b",f", struct.pack(">f", value)) if isinstance(value, float) else (b",s", _text(value.encode()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.sendto(_text(address.encode()) + _text(tag) + data, ("127.0.0.1", self.osc_port))

    def open_window(self, values: Sequence[float] = ()) -> Window:
        """Start the next window, looking for `values`; return the one that it closes."""
        self.status()
        number, self._number = self._number, self._number + 1
        now, opened = time.monotonic(), self._opened
        self._order(self._number, values)
        self._opened = now
        wait_for(lambda: all(self._path(pid, number).exists() or not _runs_package(pid) for pid in self._roles),
                 "the counts of every process", 30, 0.01)
        paths = {pid: self._path(pid, number) for pid in self._roles}
        reports = [Report(self._roles[pid], **json.loads(path.read_text())) for pid, path in paths.items()
                   if path.exists()]
        return Window(now - opened, reports)

    def _path(self, pid: int, number: int) -> Path:
        return self.folder / f"{pid}.{number}.json"

    def _order(self, number: int, values: Sequence[float]) -> None:
        part = self.folder / "order.part"
        part.write_text(json.dumps({"number": number, "values": list(values)}))
        part.replace(self.folder / "order")


def _text(data: bytes) -> bytes:
    """An OSC string: closed by a zero, in multiples of four bytes."""
    return data + b"\0" * (4 - len(data) % 4)


def _runs_package(pid: int) -> bool:
    """Whether the process is alive and no zombie."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
