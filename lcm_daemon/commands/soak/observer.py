"""Observer: asks a soaked show for its status, as an operator's page does, and looks at its processes."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lcm_daemon.commands.soak.soaked_show import SoakedShow
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.processes.segments import FOLDER, PREFIX

ASK_SECONDS = 0.2  # between two questions
ROLES = ("engine", "desk", "audience")  # whose process ids the status has, as engine_pid
OTHER = "others"  # spare processes, windows, Python's own helpers


@dataclass(frozen=True)
class Health:
    """What the page answered. time: monotonic seconds of the status in it; took: seconds until the answer."""

    time: float
    took: float
    status: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class ProcessSample:
    """One process. memory: bytes of its own; descriptors: open files and sockets."""

    pid: int
    role: str
    memory: int
    descriptors: int


@dataclass(frozen=True)
class Sample:
    """All processes at one moment, in monotonic seconds. shared: bytes of shared memory of the show."""

    time: float
    processes: tuple[ProcessSample, ...]
    shared: int


@dataclass
class StatusPoint:
    """The status in numbers, for the plots. time: monotonic seconds."""

    time: float
    fps: float
    input_fps: float
    output_fps: float
    latency: float


@dataclass
class Observer:
    """Watches a show on two threads.

    Args:
        show: The show.
        every: Seconds between two samples of the processes, and between two points of the status.
    """

    show: SoakedShow
    every: float
    newest: Health | None = None
    samples: list[Sample] = field(default_factory=list)
    points: list[StatusPoint] = field(default_factory=list)
    replaced: list[tuple[float, str]] = field(default_factory=list)  # monotonic seconds, role
    alarms: list[tuple[float, str]] = field(default_factory=list)
    slowest: float = 0.0  # seconds until the page answered; set to 0 by who asks about a span

    def __post_init__(self) -> None:
        self._ending, self._pids = threading.Event(), dict[str, int]()
        self._asked_at = time.monotonic()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._ask, self._look)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(6)

    def status_since(self, moment: float) -> Mapping[str, Any]:
        """The newest status, if it is of a later moment (monotonic seconds); else nothing."""
        newest = self.newest
        return newest.status if newest is not None and newest.time > moment else {}

    def waiting(self) -> float:
        """Seconds for which the page has not answered the question that is asked now."""
        return time.monotonic() - self._asked_at

    def _ask(self) -> None:
        while not self._ending.wait(ASK_SECONDS):
            self._asked_at = begun = time.monotonic()
            try:
                found = self.show.health()
            except LcmDaemonError:
                self.slowest = max(self.slowest, time.monotonic() - begun)
                continue
            took = time.monotonic() - begun
            self.slowest = max(self.slowest, took)
            age = found.get("status_age")
            moment = begun - float(age) if isinstance(age, int | float) else 0.0
            self.newest = Health(moment, took, found["status"], found.get("values", {}))
            self._note(self.newest)

    def _note(self, health: Health) -> None:
        for role in ROLES:
            pid = int(health.status.get(f"{role}_pid") or 0)
            before = self._pids.get(role, pid)
            if pid and before and pid != before:
                self.replaced.append((health.time, role))
            if pid:
                self._pids[role] = pid
        alarm = str(health.status.get("alarm") or "")
        if alarm and (not self.alarms or self.alarms[-1][1] != alarm):
            self.alarms.append((health.time, alarm))

    def _look(self) -> None:
        while not self._ending.wait(self.every):
            with contextlib.suppress(psutil.Error):
                self.samples.append(self._sample())
            newest = self.newest
            if newest is not None and newest.time > time.monotonic() - 5:
                numbers = (float(newest.status.get(name) or 0.0)
                           for name in ("fps", "input_fps", "output_fps", "latency"))
                self.points.append(StatusPoint(newest.time, *numbers))

    def _sample(self) -> Sample:
        stage = self.show.process
        roles = {pid: role for role, pid in self._pids.items()} | {stage.pid: "stage"}
        tree = [stage, *stage.children(recursive=True)]
        processes = []
        for each in tree:
            with contextlib.suppress(psutil.Error):
                processes.append(ProcessSample(each.pid, roles.get(each.pid, OTHER), own_memory(each),
                                               _descriptors(each)))
        return Sample(time.monotonic(), tuple(processes), shared_memory(each.pid for each in tree))


def own_memory(process: psutil.Process) -> int:
    """Bytes that a process has for itself, without what it shares and without files. Raises psutil.Error.

    On Linux `RssAnon` of /proc/PID/status (proc_pid_status(5)): pages of files come and go with the free memory of the
    machine, and would look as if a process grew.
    """
    if sys.platform == "linux":
        try:
            text = Path(f"/proc/{process.pid}/status").read_text("ascii", "replace")
        except OSError as error:
            raise psutil.NoSuchProcess(process.pid) from error
        found = {name: value for name, _, value in (line.partition(":") for line in text.splitlines())}
        return 1024 * sum(int(found.get(name, "0").split()[0]) for name in ("RssAnon", "VmSwap"))
    try:
        return int(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def _descriptors(process: psutil.Process) -> int:
    if sys.platform == "win32":
        return int(process.num_handles())
    return int(process.num_fds())


def shared_memory(pids: Iterable[int], folder: Path = FOLDER) -> int:
    """Bytes of the blocks of shared memory that these processes own; 0 where the system does not list them."""
    owners = {f"{PREFIX}{pid}" for pid in pids}
    total = 0
    for path in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.name.rpartition("-")[0] in owners else 0
    return total
