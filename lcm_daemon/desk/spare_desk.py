"""SpareDesk: a process that has imported the desk's modules, and waits to become the next desk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.progress import GONE, STOPPED, look

if TYPE_CHECKING:  # the command line imports this module before everything else
    from lcm_daemon.core.metrics import Metrics

log = logging.getLogger(__name__)

MODULES = ("lcm_daemon.desk.desk", "lcm_daemon.controllers.osc.controller", "lcm_daemon.controllers.panel.server",
           "lcm_daemon.controllers.midi.controller", "lcm_daemon.controllers.oscquery.controller")
RETRY_SECONDS = 5.0  # between two tries to start one
URGENT_SECONDS = 0.5  # the same while no desk is open
LOOK_SECONDS = 1.0  # between two looks whether it is still there
IMPORT_SECONDS = 30.0  # for which it may import its modules


class SpareDesk:
    """At most one process. All calls on the stage's thread; none of them waits."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._process: Prestarted | None = None
        self._tried_at = -RETRY_SECONDS
        self._looked_at = 0.0

    @property
    def is_warm(self) -> bool:
        """Whether one waits that has imported its modules."""
        return self._process is not None and self._process.is_warm

    def waitables(self) -> list[Any]:
        """What becomes readable when the process has imported its modules, and when it ends."""
        return [self._process.pipe] if self._process is not None else []

    def keep(self, now: float, is_urgent: bool = False, in_background: bool = False) -> None:
        """Start one if there is none, and replace one that has ended or hangs.

        Args:
            is_urgent: It is needed at once.
            in_background: It imports at low priority.
        """
        if self._process is not None and (is_urgent or now - self._looked_at >= LOOK_SECONDS):
            self._looked_at = now
            is_late = not self._process.is_warm and now - self._tried_at >= IMPORT_SECONDS
            if is_late or look(self._process.process.pid or 0).state in (STOPPED, GONE):
                self._metrics.count("desk/spare_died")
                self.drop()
        pause = URGENT_SECONDS if is_urgent else RETRY_SECONDS
        if self._process is None and now - self._tried_at >= pause:
            self._tried_at = self._looked_at = now
            self._start(in_background)

    def _start(self, in_background: bool) -> None:
        try:
            self._process = start_desk_process(in_background)
        except OSError as error:
            log.warning("desk: no process for the next one can be started: %s; next try in %g s", error, RETRY_SECONDS)

    def pop(self) -> Prestarted | None:
        """The process, to become a desk; None if none is warm. One that is stopped is killed."""
        if not self.is_warm or self._process is None:
            return None
        if look(self._process.process.pid or 0).state == STOPPED:
            self.drop()
            return None
        popped, self._process = self._process, None
        return popped

    def drop(self) -> None:
        """Kill it. The system ends it in the background."""
        dropped, self._process = self._process, None
        if dropped is not None:
            dropped.kill_unused()


def start_desk_process(in_background: bool = False) -> Prestarted:
    """A process that imports the desk's modules. Raises OSError if the system has no room for it."""
    return Prestarted("lcm-desk", MODULES, in_background)
