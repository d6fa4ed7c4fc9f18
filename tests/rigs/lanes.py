"""How `pytest -n` shares out the tests: those that measure time run on one worker, one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

try:
    from xdist.scheduler import LoadScopeScheduling
except ImportError:  # a machine with pytest alone, as those with a card: one process runs everything
    LoadScopeScheduling = object


class Lanes(LoadScopeScheduling):
    """Scheduler of `pytest -n`: one worker runs every test that may measure time, the others those that are patient.

    A test whose worker died (a signal from outside, no memory) is tried once more; a second death is a failure.

    config, log: as xdist gives them. is_patient: whether the test with this id may run beside others.
    """

    def __init__(self, config: pytest.Config, log: Any, is_patient: Callable[[str], bool]) -> None:
        config.option.loadscopereorder = False  # scopes are started in the order of the tests
        super().__init__(config, log)
        self._is_patient = is_patient
        self.died: list[str] = []  # tests whose worker died

    def schedule(self) -> None:
        """Give the first scope to the worker of normal priority, whichever was ready first.

        A worker starts a test when it knows the next one: one that replaces another needs two scopes as well.
        """
        self.assigned_work = dict(sorted(self.assigned_work.items(), key=lambda item: item[0].gateway.id))
        super().schedule()
        for node in self.nodes:
            self._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        """Put what a worker had not finished into the queue again; return the test that ran when it died, or None.

        xdist's own method also queues the scopes that are finished, and a worker that is given one waits for ever.
        """
        scopes = self.assigned_work.pop(node)
        waiting = [(tests, nodeid) for tests in scopes.values() for nodeid, done in tests.items() if not done]
        if not waiting:
            return None
        tests, crashed = waiting[0]
        tests[crashed] = crashed in self.died  # it is tried again once
        self.died.append(crashed)
        self.workqueue.update({name: tests for name, tests in scopes.items() if not all(tests.values())})
        for other in self.nodes:
            self._reschedule(other)
        return crashed

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if self._is_patient(nodeid) else "one after another"


def report_death(nodeid: str, report: Any, lanes: Lanes) -> str:
    """Let the first death of a test's worker count as no failure; return a line that says so, or "" for a failure."""
    if lanes.died.count(nodeid) > 1:
        return ""
    report.outcome = "rerun"
    return f"{nodeid}: its worker died; it is tried once more"
