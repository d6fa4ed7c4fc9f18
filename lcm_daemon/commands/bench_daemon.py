"""Measures a whole daemon in a process of its own: from the input bus to the output bus, and its start."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon import transports
from lcm_daemon.commands.bench_report import Figures
from lcm_daemon.commands.bench_task import BENCH_SIZE, Task, tree_memory
from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Frame
from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.processes.bootstrap import terminal_signals_blocked
from lcm_daemon.processes.program import end_program
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.testcard import TestcardSource, read_stamp

BUS_SECONDS = 10.0  # how long frames on the output bus are measured
BUS_FPS = 60.0
WARM_UP_SECONDS = 5.0  # before that
START_TIMEOUT = 300.0  # seconds


class DaemonProcess:
    """A daemon in a process of its own, while used as a context manager. show: the content of its show file."""

    def __init__(self, show: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name)
        (path / "show.yaml").write_text(yaml.safe_dump({"crash_reports": {"keep": 0}, **show}))
        self._log = path / "log.txt"
        command = [sys.executable, "-m", "lcm_daemon", "run", str(path / "show.yaml")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self) -> DaemonProcess:
        return self

    def __exit__(self, *_: object) -> None:
        end_program(self._process, 10)
        self._folder.cleanup()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def last_log_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no log line"


def measure_bus(task: Task) -> Figures:
    """Measure the passthrough recipe from the input bus to the output bus, both in shared memory."""
    bus = f"bench{os.getpid()}"
    show = {
        "recipe": "passthrough", "osc": False, "panel": False, "resume": False,
        "output": {"size": list(BENCH_SIZE), "fps": BUS_FPS},
        "source": {"transport": "memory", "name": f"{bus}in"}, "sinks": [{"transport": "memory", "name": f"{bus}out"}],
    }
    context = get_context("spawn")
    ended = context.Event()
    sender = context.Process(target=_send_test_cards, args=(f"{bus}in", ended), daemon=True)
    with terminal_signals_blocked():  # Ctrl-C goes to this process only, which ends the others in order
        sender.start()
    try:
        with DaemonProcess(show) as daemon:
            times, ages = _receive_test_cards(f"{bus}out", BUS_SECONDS, daemon)
    finally:
        ended.set()
        sender.join(5)
    jitter = sorted(abs(b - a - 1 / BUS_FPS) for a, b in itertools.pairwise(times))
    return {
        f"frames received in {BUS_SECONDS:.0f} s at {BUS_FPS:.0f} fps": float(len(times)),
        **{f"interval jitter, ms (p{100 * q:g})": 1000 * quantile_of(jitter, q) for q in (0.5, 0.99, 0.999)},
        **{f"bus in to bus out, ms (p{100 * q:g})": 1000 * quantile_of(sorted(ages), q) for q in (0.5, 0.99)},
    }


def _send_test_cards(name: str, ended: Event) -> None:
    """Write test cards to a bus at its rate until `ended` is set. Each has its number and time in its pixels."""
    sink_type = transports.load("memory").sink
    assert sink_type is not None
    card, sink = TestcardSource({"size": BENCH_SIZE, "fps": BUS_FPS}), sink_type({"name": name})
    card.open()
    sink.open(BENCH_SIZE, BUS_FPS)
    while not ended.is_set():
        if frame := card.read(0.1):
            sink.write(frame)
    sink.close()


def _receive_test_cards(name: str, seconds: float, daemon: DaemonProcess) -> tuple[list[float], list[float]]:
    """Return the arrival times of all frames, and the age of each new test card at its arrival, in seconds."""
    source = _open_bus(name)
    times: list[float] = []
    ages: dict[int, float] = {}
    started = time.perf_counter() + WARM_UP_SECONDS
    while time.perf_counter() < started + seconds and daemon.is_running:
        frame = source.read(0.2)
        now = time.perf_counter()
        if frame is None or now < started:
            continue
        times.append(now)
        stamp = read_stamp(frame.pixels)
        if stamp is not None:
            ages.setdefault(stamp.number, now - stamp.time)
    source.close()
    return times, list(ages.values())


def measure_start(task: Task) -> Figures:
    """Measure the time to the first output frame (the slate) and to the first rendered one, with no input."""
    bus = f"bench{os.getpid()}"
    show = {
        "recipe": task.reference, "osc": False, "panel": False, "resume": False, "engine": {"spare": False},
        "source": False, "parameters": {"mode": "text"}, "sinks": [{"transport": "memory", "name": bus}],
    }
    source = _open_bus(bus)
    started = time.perf_counter()
    with DaemonProcess(show) as daemon:
        slate = _wait_for_frame(source, daemon, lambda frame: True)
        first = time.perf_counter() - started
        _wait_for_frame(source, daemon, lambda frame: bool((frame.pixels != slate.pixels).any()))
        rendered, memory = time.perf_counter() - started, tree_memory(daemon.pid)
    source.close()
    return {"first output frame, s": first, "first rendered frame, s": rendered, "memory of all processes, MiB": memory}


def _open_bus(name: str) -> Source:
    source_type = transports.load("memory").source
    assert source_type is not None
    source = source_type({"name": name})
    source.open()
    return source


def _wait_for_frame(source: Source, daemon: DaemonProcess, accept: Callable[[Frame], bool]) -> Frame:
    end = time.perf_counter() + START_TIMEOUT
    while time.perf_counter() < end and daemon.is_running:
        frame = source.read(0.05)
        if frame is not None and accept(frame):
            return frame
    raise EngineError(f"the daemon put out no frame: {daemon.last_log_line()}")
