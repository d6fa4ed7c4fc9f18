"""RecipeFetch: downloads the files of a recipe while a show plays, in a process of its own, one recipe at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.processes.bootstrap import (
    LogLevels,
    log_levels,
    run_at_low_priority,
    set_up_child,
    terminal_signals_blocked,
)
from lcm_daemon.processes.pipes import Connection
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.downloads import Download, check_space, find_downloads, format_size
from lcm_daemon.recipes.recipe import Recipe

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.25  # between two reports of the process
REPORT_SHARE = 0.01  # of the download, after which it reports in any case


@dataclass(frozen=True)
class FetchReport:
    """The process to the stage: bytes that are here, bytes of all files, and how it ended.

    Attributes:
        problem: Why it failed; one line.
        ended: Whether this is the last report.
    """

    done: int = 0
    total: int = 0
    problem: str = ""
    ended: bool = False


class RecipeFetch:
    """Starts and stops downloads for controllers. Its methods are called on the tick's thread and never wait.

    Args:
        on_end: Called on the tick's thread with the recipe's name when its download has ended or was stopped.

    Attributes:
        name: The recipe that is being fetched; "" if none is.
        problems: Why the last download of a recipe failed, by name.
    """

    def __init__(self, metrics: Metrics, on_end: Callable[[str], None]) -> None:
        self.name, self.problems = "", dict[str, str]()
        self.refusals = Refusals(metrics)
        self._on_end = on_end
        self._origin = ""
        self._report = FetchReport()
        self._run: _Run | None = None

    @property
    def share(self) -> float:
        """How much of the download is here, from 0 to 1."""
        return self._report.done / self._report.total if self._report.total else 0.0

    def describe(self) -> str:
        """One line for the status: "sd-turbo: 37 % of 2.4 GB"; "" while nothing is fetched."""
        if not self.name:
            return ""
        if not self._report.total:
            return f"{self.name}: asking the hub"
        return f"{self.name}: {100 * self.share:.0f} % of {format_size(self._report.total)}"

    def start(self, name: str, recipe: Recipe, origin: str) -> None:
        """Begin to download. Refused while another recipe is fetched; what an earlier download has fetched stays."""
        if self.name:
            self.refusals.add("fetch/refused", origin, f"fetch {name}: {self.name} is being fetched; "
                              "one recipe is fetched at a time")
            return
        log.info("recipe %s: fetching its files", name)
        self.name, self._origin, self._report = name, origin, FetchReport()
        self.problems.pop(name, None)
        self._run = _Run(recipe)

    def stop(self) -> None:
        """Stop the download. A later one continues where it was."""
        if self._run is not None:
            log.info("recipe %s: fetching was stopped at %.0f %%", self.name, 100 * self.share)
            self._end()

    def step(self) -> None:
        """Take the newest report. Call this once a tick."""
        if self._run is None:
            return
        report = self._run.newest
        self._report = report
        if not report.ended:
            return
        if report.problem:
            self.problems[self.name] = report.problem
            self.refusals.add("fetch/failed", self._origin, f"fetch {self.name}: {report.problem}")
        else:
            log.info("recipe %s: its files are here", self.name)
        self._end()

    def _end(self) -> None:
        assert self._run is not None
        self._run.kill()
        name, self.name, self._run, self._report = self.name, "", None, FetchReport()
        self._on_end(name)


class _Run:
    """One process, and the thread that starts it and reads its reports."""

    def __init__(self, recipe: Recipe) -> None:
        self.newest = FetchReport()
        self._recipe, self._levels = recipe, log_levels()
        self._lock = threading.Lock()
        self._is_killed = False
        self._process: Any = None
        threading.Thread(target=self._serve, name="fetch", daemon=True).start()

    def kill(self) -> None:
        """End the process, if it runs; do not wait for it."""
        with self._lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def _serve(self) -> None:
        receiver, sender = get_context("spawn").Pipe(duplex=False)
        with receiver:
            try:
                with sender, self._lock:
                    if self._is_killed:
                        return
                    self._process = self._start(sender)
            except OSError as error:
                self.newest = FetchReport(problem=f"its process cannot be started: {error}", ended=True)
                return
            with suppress(EOFError, OSError):
                while not self.newest.ended:
                    self.newest = receiver.recv()
        self._process.join()
        if not self.newest.ended:
            self.newest = FetchReport(problem="its process has ended; the next fetch resumes the download", ended=True)

    def _start(self, sender: Connection) -> Any:
        process = get_context("spawn").Process(
            target=run, args=(sender, self._recipe, self._levels), name="lcm-fetch", daemon=True)
        with terminal_signals_blocked():
            process.start()
        return process


# --- in the process ---


def run(pipe: Connection, recipe: Recipe, levels: LogLevels) -> None:
    """Download the files of a recipe, and report to the pipe."""
    set_up_child(levels, downloads=True)
    progress = _Progress(pipe.send)
    try:
        run_at_low_priority(lambda: _fetch(recipe, progress))
    except LcmDaemonError as error:
        pipe.send(FetchReport(problem=str(error), ended=True))
    else:
        pipe.send(FetchReport(progress.total, progress.total, ended=True))


def _fetch(recipe: Recipe, progress: _Progress) -> None:
    downloads = list(find_downloads(recipe))
    if downloads:
        check_space(downloads)
    progress.total = sum(download.size for download in downloads)
    for download in downloads:
        _fetch_repository(download, progress)


def _fetch_repository(download: Download, progress: _Progress) -> None:
    for file in download.files:
        before = progress.done
        hub_cache.download(download.source, download.listing.commit, file, progress.bar())
        progress.set(before + file.size)
    hub_cache.activate(download.source, download.revision, download.listing)


class _Progress:
    """Counts bytes, and sends reports, but not too many."""

    def __init__(self, send: Callable[[FetchReport], None]) -> None:
        self.done = self.total = 0
        self._send, self._sent_at, self._sent = send, 0.0, 0

    def set(self, done: int) -> None:
        self.done, now = done, time.monotonic()
        if now - self._sent_at >= REPORT_SECONDS or done - self._sent >= REPORT_SHARE * self.total:
            self._sent_at, self._sent = now, done
            self._send(FetchReport(done, self.total))

    def bar(self) -> type[Any]:
        """A class of progress bars, with as much of tqdm's interface as huggingface_hub uses."""
        progress, begun = self, self.done

        class Bar:
            def __init__(self, *, initial: int = 0, **_: object) -> None:
                progress.set(begun + initial)

            def update(self, amount: float = 1) -> None:
                progress.set(progress.done + int(amount))

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None:
                return None

        return Bar
