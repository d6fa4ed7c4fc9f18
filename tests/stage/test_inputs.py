"""Source and guide of a show: what controllers ask for, what is reported, what a run begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.automation.look import Look
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.inputs import Inputs

SOURCES = "sources: {wide: {transport: memory, name: wide}, film: {transport: file, path: film.mp4}}"


def inputs(folder: Path, text: str = SOURCES, look: Look | None = None) -> Inputs:
    (folder / "show.yaml").write_text(text)
    return Inputs(load_show(folder / "show.yaml", environment={}), Metrics(), lambda: None, look)


def look(source: str = "", guide: str = "") -> Look:
    return Look("builtin", (256, 256), source=source, guide=guide)


def test_an_unknown_name_is_reported_to_its_sender_and_in_the_status(tmp_path: Path) -> None:
    live = inputs(tmp_path)
    live.change("source", "wid", "osc/10.0.0.7:5", 0.0)
    (refusal,) = live.refusals.pop()
    assert refusal.origin == "osc/10.0.0.7:5"
    assert refusal.text == live.error
    assert "source: no source 'wid'; did you mean 'wide'?" in live.error


def test_a_source_that_cannot_be_opened_is_reported_to_the_one_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = inputs(tmp_path)
    live.change("source", "film", "osc/10.0.0.7:5", 0.0)
    monkeypatch.setattr(live.source, "step", lambda now: "source film: does not exist")
    live.step(1.0)
    live.cancel()
    (refusal,) = live.refusals.pop()
    assert (refusal.origin, refusal.text) == ("osc/10.0.0.7:5", "source film: does not exist")


def test_a_show_that_can_have_no_guide_refuses_one(tmp_path: Path) -> None:
    live = inputs(tmp_path, "{}")
    live.change("guide", "testcard", "osc", 0.0)
    assert live.error == "guide: the show has none; give it a `guide`, or `sources`"
    assert live.guide.wanted == "show"


def test_names_are_kept_once_there_is_a_choice(tmp_path: Path) -> None:
    assert inputs(tmp_path, "{}").names() == {}
    assert inputs(tmp_path).names() == {"source": "show", "guide": "show"}
    live = inputs(tmp_path, "{}")
    live.change("source", "memory  X", "osc", 0.0)
    assert live.names() == {"source": "memory X"}
    live.cancel()
    assert live.names() == {"source": "show"}


def test_a_run_begins_with_the_sources_of_the_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    live = inputs(tmp_path, look=look("wide", "memory X"))
    assert (live.source.describe(), live.guide.describe()) == ("wide (memory wide): opening", "memory X: opening")
    live = inputs(tmp_path, look=look("gone"))
    assert live.source.describe() == "testcard: opening"
    assert "source gone of the last run: no source 'gone'" in caplog.text
    assert inputs(tmp_path, "{}", look("", "wide")).guide.describe() == "none"
