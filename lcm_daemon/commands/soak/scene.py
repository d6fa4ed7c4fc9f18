"""Scene: what a fault acts on. Fault: one thing that goes wrong, how it is undone, and what is expected of the show."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from lcm_daemon.commands.soak.input_sender import InputSender
from lcm_daemon.commands.soak.observer import Observer
from lcm_daemon.commands.soak.soaked_show import SoakedShow
from lcm_daemon.commands.soak.timeline import Timeline
from lcm_daemon.shows.show import Show

RENDERED_SECONDS = 10.0  # until a new picture is rendered after an engine has failed
DESK_SECONDS = 1.0  # until OSC answers after the desk has failed
SOURCE_SECONDS = 2.0  # until new input comes after a source has returned
PAGE_SECONDS = 1.0  # within which the operator's page answers under a flood
VALUE_SECONDS = 0.3  # within which an honest value is in force under a flood


@dataclass(frozen=True)
class Check:
    """One expectation: what it is, what was found, and whether that is as expected."""

    what: str
    found: str
    ok: bool


@dataclass
class Scene:
    """A soaked show and what is around it.

    Attributes:
        show: The show that is soaked.
        checked: What its file says.
        sender: Its source; None if it plays its own.
        observer: Its status and processes.
        timeline: Its output.
        folder: For files of the faults.
        second_sink: Name of its further memory sink.
        chance: What is drawn by lot.
        collect: Called while a fault waits: it takes the frames that have come.
    """

    show: SoakedShow
    checked: Show
    sender: InputSender | None
    observer: Observer
    timeline: Timeline
    folder: Path
    second_sink: str
    chance: Random = field(default_factory=Random)
    collect: Callable[[], None] = lambda: None

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait for `seconds`, or until something is true; return whether it is."""
        end = time.monotonic() + seconds
        while not (found := until()) and time.monotonic() < end:
            self.collect()
            time.sleep(0.05)
        return found

    def pid(self, role: str) -> int:
        """Process id of the engine, the desk or the visitors' server; 0 if it is not known."""
        newest = self.observer.newest
        return int(newest.status.get(f"{role}_pid") or 0) if newest is not None else 0

    def renders(self, since: float, other_than: int = 0) -> bool:
        """Whether a status later than `since` (monotonic seconds) says that pictures are rendered, by another engine
        than the one of that process id."""
        status = self.observer.status_since(since)
        return (bool(status) and status["engine"] == "rendering" and float(status["fps"]) > 0
                and int(status["engine_pid"] or 0) != other_than)

    def receives(self, since: float) -> bool:
        """Whether a status later than `since` says that new input comes."""
        status = self.observer.status_since(since)
        if not status or not self.checked.source:
            return bool(status)
        return float(status["input_fps"]) > 0

    def value(self, name: str) -> Any:
        """The newest value of a parameter."""
        newest = self.observer.newest
        return newest.values.get(name) if newest is not None else None

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process of the show."""
        if pid:
            os.kill(pid, number)


class Fault(ABC):
    """One thing that goes wrong.

    Attributes:
        name: What `--only` calls it.
        does: What it does, in one line.
        rest: Seconds for which the engine must have played: a spare one is ready then.
        hold: Seconds from its beginning to its being undone.
        limit: Seconds within which the show has recovered.
        from_undo: Whether that time counts from its being undone, or from its beginning.
        ends_stage: Whether it ends the stage, whose output then stops.
        page_answers: Whether the operator's page is expected to answer all the time.
        by_default: Whether it is caused if no fault is named. One that hits other programs of the machine is not.
    """

    name: str
    does: str
    rest: float = 0.0
    hold: float = 0.0
    limit: float = RENDERED_SECONDS
    from_undo: bool = False
    ends_stage: bool = False
    page_answers: bool = False
    by_default: bool = True

    def missing(self, scene: Scene) -> str:
        """Why it cannot be caused here; "" if it can."""
        return ""

    @abstractmethod
    def begin(self, scene: Scene) -> None:
        """Cause it."""

    def go_on(self, scene: Scene) -> None:  # noqa: B027
        """Called again and again until it is undone."""

    def undo(self, scene: Scene) -> None:  # noqa: B027
        """End it."""

    @abstractmethod
    def is_over(self, scene: Scene, since: float) -> bool:
        """Whether the show has recovered. since: Monotonic seconds from which the limit counts."""

    @property
    def is_done(self) -> bool:
        """Whether it may be undone before `hold` is over."""
        return False

    def checks(self, scene: Scene) -> Sequence[Check]:
        """What else is expected, once it is over."""
        return ()

