"""Bench: what this machine does, as a table. The stage alone, the whole way of a picture, and a recipe's model.

Everything that loads torch runs in a process of its own, as it does in a show.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil
import yaml

from lcm_daemon import transports
from lcm_daemon.commands.arguments import find_recipes
from lcm_daemon.commands.bench_report import Rows, compare, summarise, table_row
from lcm_daemon.core.errors import EngineError, LcmDaemonError
from lcm_daemon.core.frame import Frame, Size, solid
from lcm_daemon.core.metrics import quantile_of
from lcm_daemon.core.schema import nearest
from lcm_daemon.processes.bootstrap import prepare_environment, terminal_signals_blocked
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import ACCELERATOR_CHOICES
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.stage.stage import Stage
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.runner import SourceRunner
from lcm_daemon.transports.testcard import TestcardSource, read_stamp

STAGE_SIZE: Size = (512, 512)
STAGE_FRAMES = 10_000
BUS_SECONDS = 10.0
BUS_FPS = 60.0
STEPS = (1, 2, 4)
ENDING = 10.0  # seconds that the process which measured the model gets to end by itself


@dataclass(frozen=True)
class Task:
    """What is to be measured. steps: the numbers of them to paint with.

    random: on the model's architecture with random weights, from no file; then the model alone is measured.
    where: how a show names the recipe.
    """

    recipe: Recipe
    frames: int = 60
    steps: tuple[int, ...] = STEPS
    random: bool = False
    where: str = ""


def task_for(
    name: str, frames: int, steps: tuple[int, ...], size: Size | None, accelerator: str | None, random: bool,
) -> Task:
    """Return the task for a recipe. Raises LcmDaemonError if there is no such recipe or accelerator.

    Args:
        name: name of a packaged recipe, or a file.
        frames: frames to measure for each figure.
        steps: numbers of steps to measure.
        size: size in pixels, or None for the recipe's.
        accelerator: name of an accelerator, or None for the recipe's.
        random: use random weights.
    """
    if accelerator is not None and accelerator not in ACCELERATOR_CHOICES:
        raise LcmDaemonError(f"--accelerate: no accelerator {accelerator!r}{nearest(accelerator, ACCELERATOR_CHOICES)}")
    recipe = find_recipes(name)[0]
    where = recipe.name if recipe.name == name else str(Path(name).absolute())
    recipe = replace(recipe, size=size or recipe.size, accelerate=accelerator or recipe.accelerate)
    return Task(recipe, frames, steps, random, where)


def bench(task: Task, file: str | None = None) -> int:
    """Measure everything, print it as it comes, and write it to `file` as JSON if that is named.

    Raises LcmDaemonError before anything is measured where that file cannot be written.
    """
    _prove_writable(file)
    report: dict[str, Rows] = {}
    for title, measure in _MEASURES.items():
        if task.random and title != "model":
            continue
        print(f"\n{title}", flush=True)
        try:
            report[title] = measure(task)
        except LcmDaemonError as error:
            report[title] = {"failed": str(error)}
        for name, value in report[title].items():
            print(f"  {name:44} {value if isinstance(value, str) else f'{value:10.2f}'}", flush=True)
    if file:
        about = {"machine": _machine(), "recipe": task.recipe.name, "random weights": task.random}
        Path(file).write_text(json.dumps({**about, **report}, indent=2) + "\n")
    return 0


def _prove_writable(file: str | None) -> None:
    try:
        if file:
            Path(file).open("a").close()
    except OSError as error:
        raise LcmDaemonError(f"{file}: cannot be written: {error.strerror}") from error


def _machine() -> Rows:
    memory = psutil.virtual_memory().total / 2**30
    return {"system": platform.platform(), "python": platform.python_version(), "cores": float(os.cpu_count() or 0),
            "memory GiB": memory}


# --- the stage alone: frames as fast as the engine takes them ---


class _Flood(Source):
    """The same four pictures for ever, a new one every 0.2 ms."""

    def _open_source(self) -> None:
        self._pictures = [solid(STAGE_SIZE, (60 * i, 90, 120, 255)) for i in range(4)]
        self._number = 0

    def _read(self, timeout: float) -> Frame | None:
        time.sleep(0.0002)
        self._number += 1
        return Frame(self._pictures[self._number % 4], self._number, time.perf_counter())

    def _close(self) -> None:
        self._pictures = []


class _StageRun:
    """A stage that renders frames as fast as the engine takes them, and records its memory on the way.

    Args:
        frames: After this many results the stage stops.
    """

    def __init__(self, show: Show, frames: int) -> None:
        self.stage = Stage(show, on_result=self._on_result)
        metrics, on_input = self.stage.metrics, self.stage.on_input
        self.stage.source = SourceRunner("flood", _Flood({}), show.size, "cover", metrics, on_input)
        self.memory: dict[int, float] = {}  # MiB, by number of results
        self.started = self.ended = 0.0
        self._frames = frames

    def _on_result(self, frame: Frame, now: float) -> None:
        done = self.stage.metrics.total("engine/rendered")
        self.started = self.started or now
        for mark in (self._frames // 10, self._frames):
            if done >= mark and mark not in self.memory:
                self.memory[mark] = _tree_memory(os.getpid())
        if done >= self._frames:
            self.ended = now
            self.stage.stop()


def _measure_stage(task: Task) -> Rows:
    show = replace(_show({"recipe": "passthrough", "osc": False, "panel": False, "engine": {"spare": False}}), sinks=())
    run = _StageRun(show, STAGE_FRAMES)
    run.stage.run(120)
    metrics = run.stage.metrics
    if not run.ended:
        raise EngineError(f"stage: only {metrics.total('engine/rendered')} of {STAGE_FRAMES} results in 120 s")
    before, after = run.memory.values()
    return {
        "passthrough 512x512 flat out, frames/s": STAGE_FRAMES / (run.ended - run.started),
        "added per frame, ms (p50)": 1000 * metrics.timing("latency", 0.5),
        "added per frame, ms (p99)": 1000 * metrics.timing("latency", 0.99),
        "memory after 1,000 frames, MiB": before,
        f"memory after {STAGE_FRAMES:,} frames, MiB": after,
    }


# --- the whole way: bus in, stage, engine, stage, bus out ---


def _measure_way(task: Task) -> Rows:
    bus = f"bench{os.getpid()}"
    show = {
        "recipe": "passthrough", "osc": False, "panel": False, "resume": False,
        "output": {"size": [512, 512], "fps": BUS_FPS},
        "source": {"transport": "memory", "name": f"{bus}in"}, "sinks": [{"transport": "memory", "name": f"{bus}out"}],
    }
    context = get_context("spawn")
    enough = context.Event()
    feeder = context.Process(target=_feed_bus, args=(f"{bus}in", enough), daemon=True)
    with terminal_signals_blocked():  # Ctrl-C is for this process, which ends the others in order
        feeder.start()
    try:
        with _Daemon(show) as daemon:
            times, lags = _watch_bus(f"{bus}out", BUS_SECONDS, daemon)
    finally:
        enough.set()
        feeder.join(5)
    gaps = sorted(abs(b - a - 1 / BUS_FPS) for a, b in itertools.pairwise(times))
    return {
        f"pictures received in {BUS_SECONDS:.0f} s at {BUS_FPS:.0f} fps": float(len(times)),
        **{f"interval jitter, ms (p{100 * q:g})": 1000 * quantile_of(gaps, q) for q in (0.5, 0.99, 0.999)},
        **{f"bus in to bus out, ms (p{100 * q:g})": 1000 * quantile_of(sorted(lags), q) for q in (0.5, 0.99)},
    }


def _feed_bus(name: str, enough: Event) -> None:
    """Test cards at the bus's rate, each with its number and time in its pixels, until it is enough."""
    sink_type = transports.load("memory").sink
    assert sink_type is not None
    card, sink = TestcardSource({"size": STAGE_SIZE, "fps": BUS_FPS}), sink_type({"name": name})
    card.open()
    sink.open(STAGE_SIZE, BUS_FPS)
    while not enough.is_set():
        if frame := card.read(0.1):
            sink.write(frame)
    sink.close()


def _watch_bus(name: str, seconds: float, daemon: _Daemon) -> tuple[list[float], list[float]]:
    """Arrival times of all pictures, and the age of each new test card at its arrival, in seconds."""
    source_type = transports.load("memory").source
    assert source_type is not None
    source = source_type({"name": name})
    source.open()
    times: list[float] = []
    ages: dict[int, float] = {}
    settled = time.perf_counter() + 5.0
    while time.perf_counter() < settled + seconds and daemon.plays:
        frame = source.read(0.2)
        now = time.perf_counter()
        if frame is None or now < settled:
            continue
        times.append(now)
        stamp = read_stamp(frame.pixels)
        if stamp is not None:
            ages.setdefault(stamp.number, now - stamp.time)
    source.close()
    return times, list(ages.values())


# --- starting, and what it takes ---


def _measure_start(task: Task) -> Rows:
    """From the command to the first picture (the slate) and the first rendered one: text to image, no input."""
    bus = f"bench{os.getpid()}"
    show = {
        "recipe": task.where, "osc": False, "panel": False, "resume": False, "engine": {"spare": False},
        "source": False, "parameters": {"mode": "text"}, "sinks": [{"transport": "memory", "name": bus}],
    }
    source_type = transports.load("memory").source
    assert source_type is not None
    source = source_type({"name": bus})
    source.open()
    begun = time.perf_counter()
    with _Daemon(show) as daemon:
        first = _await_picture(source, daemon, lambda frame: True)
        shown = time.perf_counter() - begun
        _await_picture(source, daemon, lambda frame: bool((frame.pixels != first.pixels).any()))
        rendered, memory = time.perf_counter() - begun, _tree_memory(daemon.pid)
    source.close()
    return {"first picture, s": shown, "first rendered frame, s": rendered, "memory of all processes, MiB": memory}


def _await_picture(source: Source, daemon: _Daemon, wanted: Callable[[Frame], bool]) -> Frame:
    end = time.perf_counter() + 300
    while time.perf_counter() < end and daemon.plays:
        frame = source.read(0.05)
        if frame is not None and wanted(frame):
            return frame
    raise EngineError(f"no picture came: {daemon.last_words()}")


# --- the model ---


def _measure_model(task: Task) -> Rows:
    if task.recipe.pipeline == "passthrough":
        return {"model": "none"}
    prepare_environment()
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    timer = context.Process(target=_tell_times, args=(theirs, task), daemon=True)
    with terminal_signals_blocked():
        timer.start()
    theirs.close()
    try:
        found: Rows | LcmDaemonError = ours.recv()
        timer.join(ENDING)
    except EOFError as error:
        raise EngineError("the process that measures the model died") from error
    finally:
        timer.kill()
        timer.join()
    if isinstance(found, LcmDaemonError):
        raise found
    return found


def _tell_times(pipe: Connection, task: Task) -> None:
    try:
        pipe.send(_time_model(task))
    except LcmDaemonError as error:
        pipe.send(error)


def _time_model(task: Task) -> Rows:
    from lcm_daemon.pipelines.components import load_components
    from lcm_daemon.pipelines.diffusers_comparison import DiffusersComparison
    from lcm_daemon.pipelines.random_weights import random_components

    recipe = _without_detectors(task.recipe) if task.random else task.recipe
    comparison = DiffusersComparison(recipe, random_components if task.random else load_components)
    rows: Rows = {"on": comparison.where}
    for steps in task.steps:
        found = comparison.measure(steps, task.frames)
        title = f"{steps} step{'s' if steps > 1 else ''}"
        for name, frames in found.items():
            rows |= {f"{title}: {name}, {key}": value for key, value in summarise(frames).items()}
        rows |= {f"{title}: diffusers' time / {name}": ratio for name, ratio in compare(found).items()}
        rows[f"{title}: accelerated by"] = comparison.accelerators
        rows[f"{title}: as a table"] = table_row(recipe, steps, comparison.where, comparison.accelerators, found)
    return rows


def _without_detectors(recipe: Recipe) -> Recipe:
    """Maps are taken as they come where making them would need a model of its own."""
    return replace(recipe, controlnets=tuple(
        replace(control, preprocessor="none", detector="") if control.detector else control
        for control in recipe.controlnets))


# --- tools ---


class _Daemon:
    """A daemon in a process of its own, for as long as the block lasts."""

    def __init__(self, show: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name)
        (path / "show.yaml").write_text(yaml.safe_dump(dict(show)))
        self._log = path / "log.txt"
        command = [sys.executable, "-m", "lcm_daemon", "run", str(path / "show.yaml")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self) -> _Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    @property
    def plays(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _show(content: Mapping[str, Any]) -> Show:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.yaml"
        path.write_text(yaml.safe_dump(dict(content)))
        return load_show(path, environment={})


def _tree_memory(pid: int) -> float:
    """MiB that a process and its children hold for themselves."""
    process = psutil.Process(pid)
    return sum(_own_memory(p) for p in (process, *process.children(recursive=True))) / 2**20


def _own_memory(process: psutil.Process) -> int:
    """Bytes; macOS tells only the administrator what a process shares with others, so there it is the resident set."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


_MEASURES: Mapping[str, Callable[[Task], Rows]] = {
    "stage": _measure_stage,
    "bus in to bus out": _measure_way,
    "start": _measure_start,
    "model": _measure_model,
}
