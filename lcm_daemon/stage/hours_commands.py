"""HoursCommands: runs the programs that switch displays, projectors and lights when a show opens and closes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.program import ProgramFailed, run_program
from lcm_daemon.shows.opening_hours import CUE, OpeningHours
from lcm_daemon.stage.opening_hours import HoursKeeper

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

OPEN, CLOSE = "open", "close"
LONGEST_RUN = 60.0  # seconds; some projectors answer late
RETRY_PAUSE = 60.0  # seconds from a failure to the next try

Run = Callable[[Sequence[str], Mapping[str, str], float], None]


class HoursCommands:
    """An attendant. After a start, the program for the present state runs too: a display may be in the other one.

    A program that fails is run again every `RETRY_PAUSE` seconds, and an alarm says so.

    Args:
        stage: The show.
        hours: Its section `opening_hours`.
        keeper: Says whether it is open.
        run: Runs a program to its end, on a thread; raises ProgramFailed.
    """

    name = "the commands of the opening hours"

    def __init__(self, stage: Stage, hours: OpeningHours, keeper: HoursKeeper, run: Run = run_program) -> None:
        self._stage, self._keeper, self._run_program = stage, keeper, run
        self._closes_at_once = hours.shows == CUE  # its picture stays
        self._words = {OPEN: hours.open_command, CLOSE: hours.close_command}
        self._wanted = ""
        self._due: float | None = None  # when the program is to run; None once it was run
        self._thread: threading.Thread | None = None
        self._failure = ""  # of the last run

    def step(self, now: float) -> None:
        wanted = self._find()
        if wanted and wanted != self._wanted:
            self._wanted, self._due = wanted, now
        if self._thread is not None:
            if self._thread.is_alive():
                return
            self._end_run(now)
        if self._due is not None and now >= self._due:
            self._begin_run()

    def status(self) -> Mapping[str, Value]:
        return {}

    def stop(self) -> None:
        """A program that runs is left to its end."""

    def _find(self) -> str:
        """The state that the displays should have; "" while the output fades out."""
        keeper = self._keeper
        if keeper.is_open or keeper.opens_soon:
            return OPEN
        return CLOSE if self._closes_at_once or keeper.closed.is_hidden else ""

    def _begin_run(self) -> None:
        self._due = None
        if not self._words[self._wanted]:
            self._stage.alarms.set("hours_command", "")  # what has failed is not wanted any more
            return
        log.info("opening hours: running the command %s", self._wanted)
        self._thread = threading.Thread(target=self._run, args=(self._wanted,), name="hours-command", daemon=True)
        self._thread.start()

    def _run(self, wanted: str) -> None:
        """Run the program. On its thread."""
        self._failure = ""
        try:
            self._run_program(self._words[wanted], {"LCM_HOURS": wanted, "LCM_SHOW": self._stage.show.name},
                              LONGEST_RUN)
        except ProgramFailed as error:
            self._failure = f"opening_hours.commands.{wanted}: {error}"

    def _end_run(self, now: float) -> None:
        self._thread = None
        self._stage.alarms.set("hours_command", self._failure)
        if self._failure:
            log.warning("%s; the next try is in %.0f s", self._failure, RETRY_PAUSE)
            if self._due is None:  # the state has not changed since
                self._due = now + RETRY_PAUSE
