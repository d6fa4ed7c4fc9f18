"""CrashReports: writes a file for each process of the show that fails. The stage never waits for it."""

from __future__ import annotations

import contextlib
import glob
import logging
import queue
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.parameters import Value
from lcm_daemon.processes.crash_stacks import sweep_stacks, take_stacks
from lcm_daemon.processes.ends import End, describe_exit
from lcm_daemon.shows.crash_options import CrashReportOptions
from lcm_daemon.stage.log_output import RECENT
from lcm_daemon.stage.private_texts import PrivateTexts

if TYPE_CHECKING:
    from lcm_daemon.stage.crash_report import Crash
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

FOLDER = "crash-reports"  # beside the file of recent lines
EXIT_SECONDS = 2.0  # after which the report is written without the exit code
MOST_WAITING = 8  # reports that wait to be written; further ones are not written
SAME_SECONDS, MOST_SAME = 3600.0, 3  # reports of the same error in this time
MOST_ERRORS = 64  # errors whose reports are counted each by itself


class CrashReports:
    """Attendant that writes reports.

    Args:
        stage: The show.
        options: What it says about reports.
        recent: The file of the daemon's recent log lines.
    """

    name = "the crash reports"

    def __init__(self, stage: Stage, options: CrashReportOptions, recent: Path) -> None:
        self._stage, self._options, self._recent = stage, options, recent
        self._texts = PrivateTexts(stage)
        self._ended: list[tuple[End, float]] = []  # those whose exit code is not known yet
        self._seen: dict[tuple[str, str], list[float]] = {}  # when reports of an error were written
        self._waiting: queue.Queue[Crash | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._begun = stage.clock.now()
        stage.desk.on_end = stage.engines.players.on_end = self.note
        stage.audience.report_ends(self.note)

    def note(self, end: End) -> None:
        """A process has failed: report it once its exit code is known."""
        now = self._stage.clock.now()
        times = [at for at in self._seen.get((end.kind, end.text), ()) if now - at < SAME_SECONDS]
        self._seen[end.kind, end.text] = times
        if len(times) < MOST_SAME:
            times.append(now)
            self._ended.append((end, now))
        if len(self._seen) > MOST_ERRORS:
            self._seen.pop(next(iter(self._seen)))

    def step(self, now: float) -> None:
        """Note the texts that play; report what has ended."""
        self._texts.note()
        for each in tuple(self._ended):
            end, at = each
            if end.child.process.exitcode is not None or now - at >= EXIT_SECONDS:
                self._ended.remove(each)
                self._begin(self._crash(end, now))

    def status(self) -> Mapping[str, Value]:
        """Nothing."""
        return {}

    def stop(self) -> None:
        """Write what waits."""
        now = self._stage.clock.now()
        for end, _ in self._ended:
            self._begin(self._crash(end, now))
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            self._thread.join(EXIT_SECONDS)
        sweep_stacks(self._recent)

    def _crash(self, end: End, now: float) -> Crash:
        from lcm_daemon.stage.crash_report import Crash  # few runs need it

        stage, values = self._stage, self._stage.values
        numbers = {name: value for name, value in values.items() if isinstance(value, bool | int | float)}
        pid = end.child.process.pid or 0
        facts = {
            "time": datetime.now(UTC).astimezone().isoformat(timespec="seconds"), "show": stage.show.name,
            "process": f"{end.kind} {pid}", "cause": end.cause, "text": end.text,
            "exit": describe_exit(end.child.process.exitcode), **end.facts, "alarms": stage.alarms.describe() or "none",
            "show plays for": f"{now - self._begun:.0f} s", "output": f"{stage.ticks} frames",
            "numbers": ", ".join(f"{name} {value:g}" for name, value in numbers.items())}
        private = None if self._options.prompts else self._texts.all()
        return Crash(end.kind, pid, facts, private)

    def _begin(self, crash: Crash) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="crash-reports", daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(crash)

    # --- the thread ---

    def _work(self) -> None:
        from lcm_daemon.stage.crash_report import compose

        while (crash := self._waiting.get()) is not None:
            folder = self._recent.parent / FOLDER
            show = self._recent.name.removesuffix(RECENT)
            path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{show}-{crash.kind}-{crash.pid}.txt"
            try:
                text = compose(crash, self._recent, take_stacks(self._recent, crash.pid))
                write_atomically(path, text, private=True)
                for old in sorted(folder.glob(f"*-{glob.escape(show)}-*.txt"))[:-self._options.keep]:
                    old.unlink()
            except OSError as error:
                log.warning("the report of the %s %d cannot be written: %s", crash.kind, crash.pid,
                            error.strerror or error)
                continue
            log.info("%s %d: its report is %s", crash.kind, crash.pid, path)
