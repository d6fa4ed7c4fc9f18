"""Attendants: parts that keep a show going unattended. The stage calls each of them once a tick."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lcm_daemon.core.audio_names import SECTION
from lcm_daemon.core.learning import KEPT as BINDINGS
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.bootstrap import log_levels
from lcm_daemon.processes.log_output import trouble as log_trouble
from lcm_daemon.stage.crash_reports import CrashReports
from lcm_daemon.stage.monitor import Monitor

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage


class Attendant(Protocol):
    """What looks after one thing. One that raises leaves the others and the tick alone: see `Guard`.

    Attributes:
        name: What the log calls it: "the opening hours".
    """

    name: str

    def step(self, now: float) -> None:
        """Do what is due at `now` (monotonic seconds). Called once a tick, after the picture has gone out; must not
        block."""

    def status(self) -> Mapping[str, Value]:
        """Its entries of the status; their names are declared in `core/status_table`."""

    def stop(self) -> None:
        """The show ends."""


class _OfStage:
    """What the stage's own attendants have in common."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def status(self) -> Mapping[str, Value]:
        return {}

    def stop(self) -> None:
        """Nothing: the stage ends its parts itself."""


class _Loading(_OfStage):
    """Moves forward what takes longer than a tick: sources, recipes that are fetched, files."""

    name = "keeping up the show"

    def step(self, now: float) -> None:
        stage = self._stage
        stage.inputs.step(now)
        stage.engines.step(now)
        stage.shelf.step()
        stage.fetch.step()
        stage.prompt_picture.step()
        stage.show_file.step(now, stage.desk.kept.get(BINDINGS, ()))


class _Alarms(_OfStage):
    """Asks the parts of a stage that have no alarm of their own to raise."""

    name = "the alarms"

    def step(self, now: float) -> None:
        stage = self._stage
        stage.alarms.set_all((
            ("engine", "; ".join(filter(None, (one.alarm for one in stage.transition.leading.engines)))),
            ("state", stage.resume_file.trouble), ("tick", stage.guard.alarm()),
            ("log", (lost := log_trouble()) and f"the log file cannot be written: {lost}")))

    def status(self) -> Mapping[str, Value]:
        return {"alarm": self._stage.alarms.describe()}


def _of_care(stage: Stage) -> list[Attendant]:
    """Those of the section `care`."""
    care = stage.show.unattended.care
    if care is None:
        return []
    from lcm_daemon.stage.care import care_attendants  # few shows have it

    return care_attendants(stage, care)


def _of_memory(stage: Stage) -> list[Attendant]:
    """The one of the section `memory`."""
    limits = stage.show.unattended.memory
    if limits is None:
        return []
    from lcm_daemon.stage.memory_watch import ProcessMemoryWatch  # few shows have it

    return [ProcessMemoryWatch(stage, limits)]


def _of_hours(stage: Stage) -> list[Attendant]:
    """Those of the section `opening_hours`."""
    hours = stage.show.unattended.opening_hours
    if hours is None:
        return []
    from lcm_daemon.stage.hours_attendants import hours_attendants  # few shows have it

    return [*hours_attendants(stage, hours)]


def _of_reports(stage: Stage) -> list[Attendant]:
    """The writer of crash reports, where the log keeps the lines for them."""
    options, recent = stage.show.unattended.crash_reports, log_levels().output.recent
    return [CrashReports(stage, options, Path(recent))] if options.keep and recent else []


def _of_alarms(stage: Stage) -> list[Attendant]:
    """The sender of messages about alarms."""
    options = stage.show.unattended.alarms
    if options is None:
        return []
    from lcm_daemon.stage.alarm_messages import AlarmMessages  # few shows have it

    return [AlarmMessages(stage, options)]


def _of_audio(stage: Stage) -> list[Attendant]:
    """The one of the section `audio`."""
    options = stage.show.controllers.get(SECTION)
    if options is None:
        return []
    from lcm_daemon.stage.audio_input import AudioInput  # few shows have it

    return [AudioInput(stage, options)]


def attendants(stage: Stage) -> list[Attendant]:
    """Those of a show. Called at the end of the stage's constructor."""
    return [_Loading(stage), _Alarms(stage), Monitor(stage), *_of_reports(stage), *_of_alarms(stage),
            *_of_care(stage), *_of_memory(stage), *_of_audio(stage), *_of_hours(stage)]
