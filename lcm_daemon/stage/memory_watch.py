"""ProcessMemoryWatch: replaces processes that use more memory than the show allows, while they work on."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.memory import memory_of
from lcm_daemon.render.engine_supervisor import EngineSupervisor
from lcm_daemon.shows.memory_limits import MemoryLimits

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds between two looks
PAUSE = 600.0  # seconds between two replacements of one process: with a limit that is too low, each one is too large
ALARM = "memory"  # cause of the alarm


class _Process(NamedTuple):
    """One process with a limit. replace: Replaces it; None if it cannot be replaced."""

    key: str  # of the section `memory`
    name: str
    pid: int
    limit: int
    replace: Callable[[], None] | None


class ProcessMemoryWatch:
    """An attendant.

    Args:
        stage: The show.
        limits: What it allows.
        used: Returns the bytes that a process uses.
    """

    name = "the memory of the processes"

    def __init__(self, stage: Stage, limits: MemoryLimits, used: Callable[[int], int] = memory_of) -> None:
        self._stage, self._limits, self._used = stage, limits, used
        self._looked_at = -math.inf
        self._replaced: dict[str, float] = {}  # when a process was replaced last, by name

    def step(self, now: float) -> None:
        if now - self._looked_at < INTERVAL:
            return
        self._looked_at = now
        texts = [self._judge(process, now) for process in self._processes(now)]
        self._stage.alarms.set(ALARM, "; ".join(filter(None, texts)))

    def status(self) -> Mapping[str, Value]:
        return {}

    def stop(self) -> None:
        """Nothing: what has begun is part of the engines and the desk."""

    def _processes(self, now: float) -> Iterator[_Process]:
        """Those with a limit, unless they are being replaced."""
        limits, stage = self._limits, self._stage
        engines = stage.engines
        if limits.engine is not None and not engines.renewal.busy:
            for engine in stage.transition.current.engines:
                if engine.ready and not engine.place.is_remote:
                    name = f"engine {engine.place.name}".strip()
                    yield _Process("engine", name, engine.pid, limits.engine, self._renewer(engine))
        if limits.desk is not None and not stage.desk.recycles:
            yield _Process("desk", "desk", stage.desk.pid, limits.desk, lambda: stage.desk.recycle(now))
        if limits.visitors is not None:
            pid = stage.audience.status().get("audience_pid", 0)
            yield _Process("visitors", "visitors' server", int(str(pid)), limits.visitors, None)
        if limits.stage is not None:
            yield _Process("stage", "stage", os.getpid(), limits.stage, None)

    def _renewer(self, engine: EngineSupervisor) -> Callable[[], None]:
        return lambda: self._stage.engines.renewal.ask(engine, "it uses too much memory")

    def _judge(self, process: _Process, now: float) -> str:
        """Replace a process that is too large; return what a person has to do."""
        used = self._used(process.pid)
        if used <= process.limit:
            return ""
        text = f"the {process.name} uses more memory than memory.{process.key} allows ({process.limit / 1e9:g} GB)"
        if process.replace is None:
            return text
        if now - self._replaced.get(process.name, -math.inf) < PAUSE:
            return f"{text}, soon after it was replaced; allow more"
        log.warning("%s: %.2f GB; it is replaced while it works on", text, used / 1e9)
        self._stage.metrics.count(f"{process.key}/ceiling")
        self._replaced[process.name] = now
        process.replace()
        return ""
