"""What a soak decides: gaps beside the control's, growth after the warm-up, faults."""

from __future__ import annotations

import pytest

from lcm_daemon.commands.soak import verdict
from lcm_daemon.commands.soak.incident import Incident
from lcm_daemon.commands.soak.observer import ProcessSample, Sample
from lcm_daemon.commands.soak.scene import Check
from lcm_daemon.commands.soak.timeline import Span, Timeline

INTERVAL = 1 / 30


def gaps(*longest: float) -> Timeline:
    """A timeline whose spans of 10 s have these longest gaps."""
    made = Timeline(0.0, 10.0)
    made.spans = [Span(10.0 * place, longest=gap, frames=300) for place, gap in enumerate(longest)]
    return made


@pytest.mark.parametrize(("shown", "control", "ok"), [
    ((0.04, 0.20), (0.04, 0.15), True),  # the machine was busy: both missed something
    ((0.04, 0.20), (0.15, 0.04), True),  # the same pause, on both sides of a border
    ((0.04, 0.04, 0.20), (0.15, 0.04, 0.04), False),  # not at the same time
    ((0.10, 0.10), (0.034, 0.034), True),
    ((0.11, 0.10), (0.034, 0.034), False),
])
def test_a_gap_is_judged_beside_the_control_of_the_same_time(
    shown: tuple[float, ...], control: tuple[float, ...], ok: bool
) -> None:
    assert verdict.cadence(gaps(*shown), gaps(*control), [], INTERVAL).ok is ok


def test_an_output_without_frames_fails() -> None:
    assert not verdict.cadence(gaps(), gaps(), [], INTERVAL).ok


def test_a_span_in_which_the_stage_was_ended_does_not_count() -> None:
    cut = Incident("power-cut", "", 12.0, 18.0, ends_stage=True)
    assert verdict.cadence(gaps(0.04, 6.0, 0.04), gaps(0.04, 0.04, 0.04), [cut], INTERVAL).ok
    assert not verdict.cadence(gaps(0.04, 6.0, 6.0), gaps(0.04, 0.04, 0.04), [cut], INTERVAL).ok


def samples(minutes: int, memory: list[int], descriptors: int = 50, pid: int = 7) -> list[Sample]:
    """One a minute. memory: MiB at the start, after ten minutes, and at the end; even growth between."""
    def at(minute: int) -> int:
        start, warm, end = memory
        share = (minute - 10) / max(1, minutes - 10)
        return round(2**20 * (start + (warm - start) * minute / 10 if minute < 10 else warm + (end - warm) * share))
    return [Sample(60.0 * minute, (ProcessSample(pid, "stage", at(minute), descriptors + minute // 30),), 1 << 20)
            for minute in range(minutes + 1)]


@pytest.mark.parametrize(("memory", "ok"), [([50, 100, 100], True), ([50, 100, 104], False), ([50, 100, 90], True)])
def test_a_process_may_grow_while_it_warms_up(memory: list[int], ok: bool) -> None:
    rows = verdict.growth(samples(60, memory))
    assert [row.what for row in rows] == ["stage", "shared memory"]
    assert verdict.memory(rows).ok is ok


def test_a_process_that_opens_more_and_more_files_has_grown() -> None:
    assert not verdict.memory(verdict.growth(samples(180, [50, 50, 50]))).ok


def test_a_process_that_was_replaced_early_is_not_judged() -> None:
    rows = verdict.growth([*samples(15, [50, 100, 200], pid=7)])
    assert rows == []
    assert verdict.memory(rows).ok
    assert "not judged" in verdict.memory(rows).found


def test_faults_that_were_not_caused_are_counted_apart() -> None:
    bad = Incident("desk-kill", "", 0.0, checks=[Check("recovered", "after 3.0 s", False)])
    skipped = Incident("display-hung", "", 0.0, skipped="no window")
    found = verdict.faults([Incident("engine-kill", "", 0.0), bad, skipped], 3)
    assert not found.ok
    assert found.found == "2 caused, 2 of 3 kinds; not as expected: desk-kill"
