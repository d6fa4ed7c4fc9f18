"""Monitor: tells the desk twice a second what the stage measures, for `/metrics`, `/livez` and `/readyz`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lcm_daemon.core.parameters import Value
from lcm_daemon.core.stage_numbers import StageNumbers

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

INTERVAL = 0.5  # seconds
ONLY = "engine"  # name of the only engine of a show that names no place


class Monitor:
    """Attendant that collects the numbers. stage: Whose numbers."""

    name = "the monitor"

    def __init__(self, stage: Stage) -> None:
        self._stage, self._at = stage, -math.inf
        self._chosen_at: float | None = None  # when the output last changed to another frame
        self._output: object = None

    def step(self, now: float) -> None:
        """Send the numbers if they are due."""
        output = self._stage.output
        if output is not self._output:
            self._output, self._chosen_at = output, now
        if now - self._at >= INTERVAL:
            self._at = now
            self._stage.desk.tell_numbers(self._collect(now))

    def status(self) -> Mapping[str, Value]:
        """Nothing: `/metrics` has it."""
        return {}

    def stop(self) -> None:
        """Nothing to end."""

    def _collect(self, now: float) -> StageNumbers:
        stage = self._stage
        sinks = {sink.label: sink.wrote_at for sink in stage.outputs.sinks if sink.is_on}
        written = [at for at in sinks.values() if at is not None]
        return StageNumbers(
            now, stage.metrics.counts(), dict(stage.desk.counts), stage.metrics.durations(),
            tuple(stage.alarms.texts), max(written, default=None) if sinks else self._chosen_at, sinks,
            stage.picture.shown_age, stage.source.age(now), stage.ticks, stage.ticker.skipped, stage.show.fps,
            not stage.picture.is_closed, self._pids(), self._memory())

    def _pids(self) -> Mapping[str, int]:
        stage = self._stage
        engines = {engine.place.name or ONLY: engine.pid for engine in stage.transition.leading.engines}
        return {"stage": os.getpid(), "desk": stage.desk.pid, **engines}

    def _memory(self) -> Mapping[str, tuple[int, int]]:
        engines = self._stage.transition.leading.engines
        return {engine.place.name or ONLY: (engine.memory.used, engine.memory.total)
                for engine in engines if engine.memory is not None}
