"""SpareProcess: a process that has imported what the next desk or visitors' server needs, and waits for its work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.progress import GONE, STOPPED, look

if TYPE_CHECKING:  # the command line imports this module before everything else
    from lcm_daemon.core.metrics import Metrics

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two tries to start one
URGENT_SECONDS = 0.5  # the same while no desk is open
LOOK_SECONDS = 1.0  # between two looks whether it is still there
IMPORT_SECONDS = 30.0  # for which it may import its modules


class SpareProcess:
    """At most one process. All calls on the stage's thread; none of them waits.

    Args:
        name: Name of the process.
        modules: What it imports.
        label: What the log and the counters call it.
        metrics: Counters.
    """

    def __init__(self, name: str, modules: Sequence[str], label: str, metrics: Metrics) -> None:
        self._name, self._modules, self._label, self._metrics = name, modules, label, metrics
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
                self._metrics.count(f"{self._label}/spare_died")
                self.drop()
        pause = URGENT_SECONDS if is_urgent else RETRY_SECONDS
        if self._process is None and now - self._tried_at >= pause:
            self._tried_at = self._looked_at = now
            self._start(in_background)

    def _start(self, in_background: bool) -> None:
        try:
            self._process = Prestarted(self._name, self._modules, in_background)
        except OSError as error:
            log.warning("%s: no process for the next one can be started: %s", self._label, error)

    def pop(self) -> Prestarted | None:
        """The process, to be given its work; None if none is warm. One that is stopped is killed."""
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
