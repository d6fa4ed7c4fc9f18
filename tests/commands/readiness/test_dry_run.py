"""A copy plays for a moment, and its figures are graded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.commands.readiness import dry_run as module
from lcm_daemon.commands.readiness.dry_run import Output, dry_run, grade, offline
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show

PLAYS = {"recipe": "builtin", "engine": "rendering", "fps": 12.0, "latency": 80.0, "replaced": 0}
GOOD = Output(frames=300, gap=0.04, changes=290, brightest=255)


@pytest.fixture
def show(tmp_path: Path) -> Show:
    path = tmp_path / "mirror.yaml"
    path.write_text("recipe: builtin\n")
    return load_show(path, environment={})


def graded(show: Show, output: Output = GOOD, **status: Any) -> dict[str, str]:
    return {one.subject: one.grade for one in grade(show, output, {"status": {**PLAYS, **status}}, 10.0)}


def test_what_is_well(show: Show) -> None:
    assert set(graded(show).values()) == {OK}


@pytest.mark.parametrize(("status", "subject", "found"), [
    ({"fps": 0.0}, "rendered", FAULT), ({"recipe": "builtin (safe)"}, "recipe", FAULT),
    ({"replaced": 2}, "processes", FAULT), ({"alarm": "the disk is full"}, "alarm", FAULT),
    ({"error": "x"}, "error", FAULT), ({"governor": "x"}, "governor", NOTE),
    ({"no_input": True}, "input", FAULT),
])
def test_what_is_not(show: Show, status: dict[str, Any], subject: str, found: str) -> None:
    assert graded(show, **status)[subject] == found


def test_the_output_is_looked_at(show: Show) -> None:
    assert graded(show, Output(200, 0.5, 190, 255))["output"] == FAULT
    assert graded(show, Output(300, 0.04, 290, 2))["picture"] == NOTE
    assert graded(show, Output(300, 0.04, 1, 255))["picture"] == NOTE


def test_a_rate_below_what_the_show_asks_for_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "mirror.yaml"
    path.write_text("output: {target_fps: 24}\n")
    assert graded(load_show(path, environment={}))["rendered"] == NOTE


def test_a_show_that_asks_for_the_internet() -> None:
    assert offline([], plays=True).grade == OK
    assert offline(["huggingface.co"], plays=True).grade == NOTE
    assert offline(["huggingface.co"], plays=False).grade == FAULT


@pytest.mark.slow
def test_a_copy_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.2)
    path = tmp_path / "mirror.yaml"
    path.write_text("recipe: passthrough\nosc: {port: 9080}\npanel: {port: 8080}\nengine: {spare: false}\n"
                    "sinks: [{transport: record, path: a.mp4}]\n")
    said: list[str] = []
    found = {one.subject: one for one in dry_run(load_show(path, environment={}), seconds=1.5, on_load=said.append)}
    assert {"start", "output", "rendered", "offline"} <= set(found)
    assert {one.grade for name, one in found.items() if name != "output"} == {OK}, found  # it depends on other jobs
    assert said[-1] in ("loading passthrough", "loading", "rendering", "starting")
    assert [path.name for path in tmp_path.iterdir()] == ["mirror.yaml"], "it writes nothing beside the show"


@pytest.mark.slow
def test_a_copy_that_cannot_play_is_a_fault_with_its_last_words(tmp_path: Path) -> None:
    path = tmp_path / "mirror.yaml"
    path.write_text("recipe: passthrough\n")
    made = load_show(path, environment={})
    path.write_text("recipe: no-such-recipe\n")
    first, last = dry_run(made, seconds=1.0)
    assert (first.subject, first.grade) == ("dry run", FAULT)
    assert "no-such-recipe" in first.text
    assert last.subject == "offline"
