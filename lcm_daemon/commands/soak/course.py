"""`lcm-daemon soak`: what happens, in its order."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lcm_daemon.commands.html_page import check_writable
from lcm_daemon.commands.output import print_line
from lcm_daemon.commands.soak import verdict
from lcm_daemon.commands.soak.fault_table import chosen
from lcm_daemon.commands.soak.incident import Incident, cause
from lcm_daemon.commands.soak.report import Findings, latency_line, soak_page
from lcm_daemon.commands.soak.scene import Check, Fault, Scene
from lcm_daemon.commands.soak.stand import Stand, system_load
from lcm_daemon.commands.svg_plot import clock_text
from lcm_daemon.shows.reader import load_show

SETTLE_SECONDS = 30.0  # within which the show plays as before a fault
CALM_SECONDS = 5.0  # between two faults
LINE_SECONDS = 60.0  # between two lines of the terminal


def soak(
    name: str, overrides: Sequence[str], hours: float, faults: bool, only: Sequence[str], file: str,
    transport: str = "memory", own_source: bool = False,
) -> int:
    """Play a copy of a show, cause faults, write the report, and print a verdict.

    Args:
        name: The show: its file or name.
        overrides: What `--set` changes of it.
        hours: How long it plays. The last fault is not cut short.
        faults: Whether faults are caused.
        only: Names of faults; none for all of them.
        file: The report.
        transport: How frames go in and out: "memory" or "ndi".
        own_source: Whether the copy plays the show's own source; its latency and the faults of sources are then left.

    Returns:
        The exit code: 0 if everything was as expected, else 1.

    Raises:
        LcmDaemonError: The show has mistakes, it renders no picture, or the report cannot be written.
    """
    table = chosen(only) if faults or only else []
    load_show(name, overrides)  # a mistake is said before anything is written
    check_writable(file)
    with tempfile.TemporaryDirectory(prefix="lcm-soak-", ignore_cleanup_errors=True) as folder:
        print_line(f"starting a copy of {name}")
        with Stand(name, overrides, 3600 * hours, table, transport, own_source, Path(folder)) as stand:
            course = _Course(stand, table, 3600 * hours)
            course.run()
            found = course.findings(transport)
    Path(file).write_text(soak_page(found), "utf-8")
    for check in found.verdicts:
        print_line(f"{check.what}: {check.found}")
    print_line(f"in to out over {transport}: {latency_line(found.shown, found.incidents)}")
    print_line(f"{found.line}; the report is {file}")
    return 0 if found.ok else 1


class _Course:
    """The faults, one after the other, until the time is over. Ctrl-C ends it early, and the report is written."""

    def __init__(self, stand: Stand, faults: Sequence[Fault], seconds: float) -> None:
        self._stand, self._faults, self._seconds = stand, faults, seconds
        self._incidents: list[Incident] = []
        self._problems: list[str] = []
        self._early = False

    def run(self) -> None:
        stand = self._stand
        self._scene = scene = stand.scene()
        self._begun = time.monotonic()
        end, place = self._begun + self._seconds, 0
        try:
            scene.wait(min(CALM_SECONDS, self._seconds / 2))
            while time.monotonic() < end and stand.show.is_running:
                if self._faults:
                    self._cause(scene, self._faults[place % len(self._faults)])
                    place += 1
                else:
                    scene.wait(min(LINE_SECONDS, max(0.0, end - time.monotonic())), self._has_ended)
                    self._print_minute()
        except KeyboardInterrupt:
            self._early = True
        scene.collect()
        if not stand.show.is_running:
            self._problems.append("the copy has ended: " + (stand.show.log() or ["it logged nothing"])[-1])
        self._ended = time.monotonic()

    def _has_ended(self) -> bool:
        return not self._stand.show.is_running

    def _cause(self, scene: Scene, fault: Fault) -> None:
        scene.wait(fault.rest, lambda: self._rested() >= fault.rest)
        incident = cause(fault, scene, self._stand.control, self._stand.interval)
        if incident.skipped and any(each.fault == fault.name for each in self._incidents):
            scene.wait(0.2)  # said once
            return
        self._incidents.append(incident)
        at = clock_text(incident.start - self._begun)
        print_line(f"{at:>10}  {'ok ' if incident.ok else 'BAD'}  {incident.line()}")
        if not incident.skipped:
            self._settle(scene)

    def _rested(self) -> float:
        """Seconds since an engine was replaced, or since the start."""
        replaced = [time for time, role in self._stand.observer.replaced if role == "engine"]
        return time.monotonic() - max([self._begun, *replaced[-1:]])

    def _settle(self, scene: Scene) -> None:
        """Wait until the show plays as before. One that does not is started again, so that other faults can be judged.
        """
        since = time.monotonic()
        if not scene.wait(SETTLE_SECONDS, lambda: scene.renders(since) and scene.receives(since)):
            self._problems.append(f"after {self._incidents[-1].fault} the copy did not play as before; it was started "
                                  "again")
            print_line(self._problems[-1])
            scene.show.stop()
            scene.show.start()
            again = time.monotonic()
            scene.wait(4 * SETTLE_SECONDS, lambda: scene.renders(again))
        scene.observer.slowest = 0.0  # from here to the next fault: what the page takes without one
        scene.wait(CALM_SECONDS)

    def _print_minute(self) -> None:
        stand = self._stand
        now = time.monotonic()
        gaps = [1000 * each.longest_gap(now - LINE_SECONDS, now) for each in (stand.shown, stand.control)]
        print_line(f"{clock_text(now - self._begun):>10}  longest gap {gaps[0]:.0f} ms (control {gaps[1]:.0f} ms), "
                   f"in to out p50 {1000 * stand.shown.latency(0.5):.0f} ms")

    def findings(self, transport: str) -> Findings:
        """What the report says."""
        stand, grown = self._stand, verdict.growth(self._stand.observer.samples)
        verdicts = [verdict.cadence(stand.shown, stand.control, self._incidents, stand.interval),
                    verdict.memory(grown)]
        if self._faults:
            verdicts.append(verdict.faults(self._incidents, len(self._faults)))
        verdicts += [Check("problem", text, False) for text in self._problems]
        checked = stand.checked
        about = {"show": checked.file, "recipe": f"{checked.recipe.name}, {'{}x{}'.format(*checked.recipe.size)}",
                 "output": f"{'{}x{}'.format(*checked.size)} at {checked.fps:g} fps, over {transport}",
                 "load": f"{stand.load:.1f} processes at the start, {system_load():.1f} at the end; the machine has "
                         f"{os.cpu_count()} processors",
                 "faults": f"{len(self._faults)} kinds" if self._faults else "none"}
        if self._early:
            about["ended"] = "by Ctrl-C"
        return Findings(
            checked.name, checked.recipe.name, about, self._ended - self._begun, stand.interval, stand.shown,
            stand.control, stand.observer, self._incidents, grown, verdicts, stand.show.log())
