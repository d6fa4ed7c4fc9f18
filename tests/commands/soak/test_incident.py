"""A fault is caused, undone and judged: by its recovery, by the output beside the control, by what else it expects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from lcm_daemon.commands.soak import incident
from lcm_daemon.commands.soak.fault_table import FAULTS, chosen
from lcm_daemon.commands.soak.incident import cause
from lcm_daemon.commands.soak.report import Findings, figures, latency_line, soak_page
from lcm_daemon.commands.soak.scene import Check, Fault, Scene
from lcm_daemon.commands.soak.timeline import ChangeSeen, FrameSeen, Timeline
from lcm_daemon.core.errors import LcmDaemonError
from tests.commands.test_html_page import figures_of


class FakeTime:
    """Monotonic seconds that pass when something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeObserver:
    """A page that answers after `slowest` seconds, and no processes."""

    def __init__(self) -> None:
        self.slowest = 0.0
        self.samples: list[Any] = []
        self.points: list[Any] = []
        self.replaced = [(1003.0, "engine")]
        self.alarms = [(1003.0, "no <input>")]

    def waiting(self) -> float:
        return 0.2


class Quiet(Fault):
    """Lets the output pause, and is over after a time."""

    name, does, hold, limit, page_answers = "quiet", "lets it pause", 1.0, 2.0, True

    def __init__(self, takes: float, pause: float = 0.0) -> None:
        self._takes, self._pause, self.undone = takes, pause, 0

    def begin(self, scene: Scene) -> None:
        scene.timeline.add([FrameSeen(1000.0, 99.0, True), FrameSeen(1000.0 + self._pause, 99.0, True)])

    def undo(self, scene: Scene) -> None:
        self.undone += 1

    def is_over(self, scene: Scene, since: float) -> bool:
        return incident.time.monotonic() >= since + self._takes

    def checks(self, scene: Scene) -> list[Check]:
        return [Check("nothing was lost", "yes", True)]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    fake = FakeTime()
    for module in ("incident", "scene"):
        monkeypatch.setattr(f"lcm_daemon.commands.soak.{module}.time", fake)
    made = Scene(cast(Any, None), cast(Any, None), None, cast(Any, FakeObserver()), Timeline(1000.0, 10.0), Path(), "b")
    made.collect = lambda: made.timeline.add([FrameSeen(fake.now, 99.0, True)])
    return made


def control(pause: float) -> Timeline:
    made = Timeline(1000.0, 10.0)
    made.add(FrameSeen(1000.0 + pause * place, 9.0, True) for place in range(int(100 / pause)))
    return made


def checks(found: incident.Incident) -> dict[str, bool]:
    return {check.what: check.ok for check in found.checks}


def test_a_show_that_recovers_in_time_is_as_expected(scene: Scene) -> None:
    fault = Quiet(1.5)
    found = cause(fault, scene, control(0.05), 1 / 30)
    assert found.ok, found.line()
    assert checks(found) == dict.fromkeys(("recovered", "longest gap", "the page answers", "nothing was lost"), True)
    assert (found.recovery, fault.undone) == (pytest.approx(1.5, abs=0.1), 1)


@pytest.mark.parametrize(("takes", "pause", "slow", "what"), [
    (2.6, 0.0, 0.0, "recovered"), (500.0, 0.0, 0.0, "recovered"), (0.5, 0.3, 0.0, "longest gap"),
    (0.5, 0.0, 1.2, "the page answers")])
def test_what_is_not_as_expected_is_named(
    scene: Scene, takes: float, pause: float, slow: float, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Quiet(takes, pause)
    monkeypatch.setattr(fault, "undo", lambda scene: setattr(scene.observer, "slowest", slow))
    found = cause(fault, scene, control(0.05), 1 / 30)
    assert [name for name, ok in checks(found).items() if not ok] == [what]
    assert "NOT AS EXPECTED" in found.line()


def test_a_gap_of_the_whole_machine_is_not_the_shows(scene: Scene) -> None:
    assert cause(Quiet(0.5, pause=0.3), scene, control(0.3), 1 / 30).ok


def test_a_fault_that_cannot_be_caused_here_is_said_and_judged_by_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quiet, "missing", lambda self, scene: "no display")
    found = cause(Quiet(0.5), scene, control(0.05), 1 / 30)
    assert found.ok
    assert found.line() == "quiet: not caused: no display"


def test_every_fault_has_a_name_and_says_what_it_does() -> None:
    assert len(FAULTS) >= 31
    for name, fault in FAULTS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", name)
        assert fault.does
        assert fault.limit > 0
    assert [fault.name for fault in chosen(["desk-stop", "engine-kill"])] == ["engine-kill", "desk-stop"]
    assert "machine-shared-memory-full" not in {fault.name for fault in chosen([])}
    assert [fault.name for fault in chosen(["machine-shared-memory-full"])] == ["machine-shared-memory-full"]
    with pytest.raises(LcmDaemonError, match="no fault 'desk-kil'; did you mean 'desk-kill'"):
        chosen(["desk-kil"])


def test_the_report_has_every_fault_and_plots(scene: Scene) -> None:
    found = [cause(Quiet(takes), scene, control(0.05), 1 / 30) for takes in (0.5, 2.6)]
    scene.timeline.add([FrameSeen(1012.0 + place / 30, 99.0, True) for place in range(300)])
    findings = Findings(
        "demo <b>", "builtin", {"show": "demo.yaml"}, 22.0, 1 / 30, scene.timeline, control(0.05), scene.observer,
        found, [], [Check("faults", "2 caused", False)], ["12:00 <lost>"])
    page = soak_page(findings)
    read = figures_of(page)
    assert [(fault["name"], fault["ok"]) for fault in cast(Any, read["faults"])] == [("quiet", True), ("quiet", False)]
    assert read["ok"] is False
    assert "<b>" not in page
    assert "&lt;lost&gt;" in page
    assert page.count("<svg") >= 2
    assert page.count('class="mark"') >= 2 * 2
    assert figures(findings)["verdict"] == "not as expected: faults"


def test_the_latency_says_whether_faults_are_in_it(scene: Scene) -> None:
    incident = cause(Quiet(0.5), scene, control(0.05), 1 / 30)
    changes = scene.timeline.changes
    changes.append(ChangeSeen(incident.end + 1.0, 0.1))
    assert latency_line(scene.timeline, [incident]) == (
        "p50 100.0 ms, p99 100.0 ms (1 changes of brightness, none of them during a fault)")
    changes += [ChangeSeen(incident.start, 0.5), ChangeSeen(incident.start, 0.5)]
    assert latency_line(scene.timeline, [incident]) == (
        "p50 100.0 ms, p99 100.0 ms (1 changes of brightness outside of faults); with those during faults p50 500.0 "
        "ms, p99 500.0 ms (3 changes)")
