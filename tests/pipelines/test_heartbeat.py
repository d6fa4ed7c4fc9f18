"""A compiler at work is progress; one that hangs is not."""

from __future__ import annotations

import time

import pytest

from lcm_daemon.pipelines.accelerators import heartbeat
from lcm_daemon.pipelines.accelerators.heartbeat import LONGEST_CALCULATION, Heartbeat, WorkDone, measure_work
from tests.conftest import ManualClock


class Compiler:
    """What it has done, as the test says."""

    def __init__(self) -> None:
        self.steps, self.cpu = 100, 7.0

    def measure(self) -> WorkDone:
        return WorkDone(self.steps, self.cpu)


def test_twenty_minutes_of_work_are_progress_and_a_hang_is_none(clock: ManualClock) -> None:
    compiler, said = Compiler(), list[str]()
    beat = Heartbeat(said.append, "compiling the denoiser", compiler.measure, clock.now)
    for second in range(0, 1200, 5):
        clock.sleep(5.0)
        compiler.cpu += 4.0
        compiler.steps += second % 300 == 0
        assert beat.beat()
    assert (said[7], said[-1]) == ("compiling the denoiser: 40 s", "compiling the denoiser: 20 min")
    clock.sleep(5.0)
    assert not beat.beat(), "it waits for something"


def test_an_endless_loop_is_no_progress_for_ever(clock: ManualClock) -> None:
    compiler = Compiler()
    beat = Heartbeat([].append, "compiling", compiler.measure, clock.now)
    for _ in range(int(LONGEST_CALCULATION / 5)):
        clock.sleep(5.0)
        compiler.cpu += 5.0
        assert beat.beat()
    clock.sleep(5.0)
    compiler.cpu += 5.0
    assert not beat.beat()
    compiler.steps += 1
    clock.sleep(5.0)
    assert beat.beat()


def test_the_block_reports_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    compiler, said = Compiler(), list[str]()
    end = time.perf_counter() + 10.0
    with Heartbeat(said.append, "compiling", compiler.measure):
        while len(said) < 3 and time.perf_counter() < end:
            compiler.steps += 1
    assert said[:2] == ["compiling", "compiling: 0 s"]
    heard = len(said)
    compiler.steps += 1
    time.sleep(0.03)
    assert len(said) == heard


def test_the_work_of_this_process_is_measured() -> None:
    before = measure_work().cpu
    sum(number * number for number in range(3_000_000))
    assert measure_work().cpu > before
