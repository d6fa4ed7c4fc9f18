"""What the stage says it measures."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.stage_numbers import StageNumbers
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.monitor import INTERVAL, Monitor


def stage(*sinks: Any) -> Any:
    engine = SimpleNamespace(place=SimpleNamespace(name=""), pid=7, memory=SimpleNamespace(used=3, total=9))
    told: list[StageNumbers] = []
    return SimpleNamespace(
        desk=SimpleNamespace(tell_numbers=told.append, pid=8, counts={"osc/packets": 5}), told=told,
        metrics=Metrics(), alarms=Alarms(), outputs=SimpleNamespace(sinks=sinks), output="first", ticks=12,
        picture=SimpleNamespace(shown_age=0.5, is_closed=False), source=SimpleNamespace(age=lambda now: 0.1),
        ticker=SimpleNamespace(skipped=2), show=SimpleNamespace(fps=30.0),
        transition=SimpleNamespace(leading=SimpleNamespace(engines=[engine])))


def sink(label: str, wrote_at: float | None, is_on: bool = True) -> Any:
    return SimpleNamespace(label=label, wrote_at=wrote_at, is_on=is_on)


def test_numbers_are_sent_twice_a_second() -> None:
    found = stage(sink("ndi", 99.0), sink("window", 98.0), sink("spout", None), sink("record", 100.0, is_on=False))
    found.alarms.set("disk", "full")
    monitor = Monitor(found)
    for now in (100.0, 100.0 + INTERVAL / 2, 100.0 + INTERVAL):
        monitor.step(now)
    assert [numbers.at for numbers in found.told] == [100.0, 100.0 + INTERVAL]
    numbers = found.told[0]
    assert numbers.sinks == {"ndi": 99.0, "window": 98.0, "spout": None}
    assert numbers.output_at == 99.0
    assert numbers.pids == {"stage": os.getpid(), "desk": 8, "engine": 7}
    assert (numbers.memory, numbers.alarms, numbers.ticks, numbers.missed) == ({"engine": (3, 9)}, ("disk",), 12, 2)
    assert numbers.fps == 30.0
    assert (numbers.desk_counts, numbers.picture_age, numbers.is_open) == ({"osc/packets": 5}, 0.5, True)


def test_a_show_without_sinks_sends_what_it_chooses() -> None:
    found = stage()
    monitor = Monitor(found)
    monitor.step(1.0)
    monitor.step(2.0)
    found.output = "second"
    monitor.step(3.0)
    assert [numbers.output_at for numbers in found.told] == [1.0, 1.0, 3.0]


def test_sinks_that_have_taken_no_frame_yet() -> None:
    found = stage(sink("ndi", None))
    Monitor(found).step(1.0)
    assert found.told[0].output_at is None
