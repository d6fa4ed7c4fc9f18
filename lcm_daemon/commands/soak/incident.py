"""Incident: what came of one fault. `cause` causes it, waits until the show has recovered, and looks at the output."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from lcm_daemon.commands.soak.scene import PAGE_SECONDS, Check, Fault, Scene
from lcm_daemon.commands.soak.timeline import Timeline

AFTER_SECONDS = 1.5  # of output that still count after the recovery
PATIENCE = 60.0  # seconds for which a show that does not recover in time is waited for
INTERVALS = 2  # by which the longest gap may exceed that of the control


@dataclass
class Incident:
    """What came of one fault. Times are monotonic seconds; gaps are in seconds.

    Attributes:
        fault: Its name.
        does: What it does.
        skipped: Why it was not caused; "" if it was.
        recovery: Seconds until the show had recovered; None if it did not.
        limit: Within which it was to recover.
        gap: Longest gap of the output.
        control: That of the control at the same time.
        checks: Every expectation.
    """

    fault: str
    does: str
    start: float
    end: float = 0.0
    skipped: str = ""
    recovery: float | None = None
    limit: float = 0.0
    gap: float = 0.0
    control: float = 0.0
    ends_stage: bool = False
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return all(check.ok for check in self.checks)

    def line(self) -> str:
        """One line for the terminal."""
        if self.skipped:
            return f"{self.fault}: not caused: {self.skipped}"
        found = "; ".join(f"{check.what}: {check.found}{'' if check.ok else ' (NOT AS EXPECTED)'}"
                          for check in self.checks)
        return f"{self.fault}: {found}"


def cause(fault: Fault, scene: Scene, control: Timeline, interval: float) -> Incident:
    """Cause a fault, undo it, wait for the recovery, and judge. interval: Seconds between two frames of the output."""
    incident = Incident(fault.name, fault.does, time.monotonic(), limit=fault.limit, ends_stage=fault.ends_stage)
    incident.skipped = fault.missing(scene)
    if incident.skipped:
        incident.end = incident.start
        return incident
    usual, scene.observer.slowest = scene.observer.slowest, 0.0
    fault.begin(scene)
    since = time.monotonic()
    _hold(fault, scene, since)
    fault.undo(scene)
    if fault.from_undo:
        since = time.monotonic()
    if scene.wait(max(PATIENCE, fault.limit), lambda: fault.is_over(scene, since)):
        incident.recovery = time.monotonic() - since
    slowest = max(scene.observer.slowest, scene.observer.waiting())
    scene.wait(AFTER_SECONDS)
    incident.end = time.monotonic()
    incident.gap = scene.timeline.longest_gap(incident.start, incident.end)
    incident.control = control.longest_gap(incident.start, incident.end)
    incident.checks = [_recovery(incident), *([] if fault.ends_stage else [_gap(incident, interval)]),
                       *([_page(slowest, usual)] if fault.page_answers else []), *fault.checks(scene)]
    return incident


def _hold(fault: Fault, scene: Scene, since: float) -> None:
    while time.monotonic() < since + fault.hold and not fault.is_done:
        fault.go_on(scene)
        scene.wait(0.05)


def _recovery(incident: Incident) -> Check:
    found, limit = incident.recovery, incident.limit
    if found is None:
        return Check("recovered", f"not within {max(PATIENCE, limit):g} s (limit {limit:g} s)", False)
    return Check("recovered", f"after {found:.1f} s (limit {limit:g} s)", found <= limit)


def _gap(incident: Incident, interval: float) -> Check:
    most = incident.control + INTERVALS * interval
    return Check("longest gap", f"{1000 * incident.gap:.0f} ms (limit {1000 * most:.0f} ms: control "
                 f"{1000 * incident.control:.0f} ms and {INTERVALS} intervals)", incident.gap <= most)


def _page(slowest: float, usual: float) -> Check:
    """usual: Seconds of the slowest answer before the fault: a machine that has other work answers later."""
    most = PAGE_SECONDS + usual
    return Check("the page answers", f"within {1000 * slowest:.0f} ms (limit {1000 * PAGE_SECONDS:.0f} ms, and the "
                 f"{1000 * usual:.0f} ms that it took before)", slowest <= most)
