"""Processes that use too much memory are replaced while they work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.render.engine_place import EnginePlace
from lcm_daemon.shows.memory_limits import MemoryLimits
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.memory_watch import INTERVAL, PAUSE, ProcessMemoryWatch

GB = 10**9


class Show:
    """A stage with two engines of this machine, one on a cluster, and a desk; and how much each process uses."""

    def __init__(self, **limits: int) -> None:
        self.used: dict[int, int] = {}
        self.renewed: list[int] = []
        self.recycled = 0
        self.engines = [SimpleNamespace(ready=True, pid=1, place=EnginePlace("cuda:0")),
                        SimpleNamespace(ready=True, pid=2, place=EnginePlace("cuda:1")),
                        SimpleNamespace(ready=True, pid=3, place=EnginePlace(ray="auto"))]
        self.renewal = SimpleNamespace(busy=False, ask=lambda engine, why: self.renewed.append(engine.pid))
        self.desk = SimpleNamespace(pid=9, recycles=False, recycle=self._recycle)
        self.stage: Any = SimpleNamespace(
            engines=SimpleNamespace(renewal=self.renewal), desk=self.desk, alarms=Alarms(), metrics=Metrics(),
            transition=SimpleNamespace(current=SimpleNamespace(engines=self.engines)),
            audience=SimpleNamespace(status=lambda: {"audience_pid": 5}))
        self._watch = ProcessMemoryWatch(self.stage, MemoryLimits(**limits), lambda pid: self.used.get(pid, 0))
        self._now = 0.0

    def _recycle(self, now: float) -> None:
        self.recycled += 1

    def pass_time(self, seconds: float = INTERVAL) -> str:
        """What needs a person after this time."""
        for _ in range(round(seconds / INTERVAL)):
            self._now += INTERVAL
            self._watch.step(self._now)
        return str(self.stage.alarms.describe())


def test_only_the_engine_that_is_too_large_is_replaced() -> None:
    show = Show(engine=GB)
    show.used = {1: GB, 2: GB + 1, 3: 5 * GB, 9: 5 * GB}
    assert show.pass_time() == ""
    assert (show.renewed, show.recycled) == ([2], 0)
    assert show.stage.metrics.counts("engine/") == {"engine/ceiling": 1}
    show.renewal.busy = True
    assert show.pass_time(60.0) == "", "the new one loads"
    show.renewal.busy, show.engines[1].pid = False, 22
    assert (show.pass_time(60.0), show.renewed) == ("", [2])


def test_a_limit_that_is_too_low_is_an_alarm_and_replaces_no_more_than_every_ten_minutes() -> None:
    show = Show(engine=GB, desk=GB)
    show.used = {1: 2 * GB}
    show.pass_time()
    assert show.pass_time(60.0) == ("the engine cuda:0 uses more memory than memory.engine allows (1 GB), soon after "
                                    "it was replaced; allow more")
    show.pass_time(PAUSE - 65.0)
    assert show.renewed == [1]
    assert (show.pass_time(), show.renewed) == ("", [1, 1])
    show.used.clear()
    assert show.pass_time() == ""


def test_the_next_desk_takes_over() -> None:
    show = Show(desk=GB)
    show.used = {9: 2 * GB}
    assert (show.pass_time(), show.recycled) == ("", 1)
    show.desk.recycles = True
    assert show.pass_time() == ""


def test_what_cannot_be_replaced_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    show = Show(stage=GB, visitors=GB)
    monkeypatch.setattr("os.getpid", lambda: 77)
    show.used = {77: 3 * GB, 5: 2 * GB}
    assert show.pass_time() == ("the visitors' server uses more memory than memory.visitors allows (1 GB); "
                                "the stage uses more memory than memory.stage allows (1 GB)")
