"""What a show is made of: mistakes, sources in sight, sinks, weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.commands.pull import MissingFile
from lcm_daemon.commands.readiness import parts
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK
from lcm_daemon.shows.reader import inspect_show, load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.transports import source_probe

SENDS = {"frames": 60, "seconds": 2.0, "size": [1920, 1080], "error": "", "in_sight": []}
SILENT = {**SENDS, "frames": 0, "size": None}


def show(folder: Path, text: str = "{}") -> Show:
    path = folder / "mirror.yaml"
    path.write_text(text)
    return load_show(path, environment={})


def test_mistakes_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "mirror.yaml"
    path.write_text("outptu: 1\noutput: {fps: 1001}\n")
    assert [one.grade for one in parts.mistakes(inspect_show(path))] == [FAULT, FAULT]
    path.write_text("{recipe: builtin}")
    assert [one.text for one in parts.mistakes(inspect_show(path))] == ["no mistakes"]


@pytest.mark.parametrize(("found", "own", "others", "words"), [
    (SENDS, OK, OK, "1920x1080, 30 frames a second"), ({**SENDS, "frames": 1}, OK, OK, "1920x1080"),
    ({**SILENT, "in_sight": ["STAGE (CAM 2)"]}, FAULT, NOTE, "sends nothing; in sight: STAGE (CAM 2)"),
    ({"error": "no such camera"}, FAULT, NOTE, "no such camera"),
])
def test_sources_in_sight(
    found: dict[str, Any], own: str, others: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "probe_source", lambda name, config: found)
    text = ("source: {transport: testcard}\nguide: {transport: testcard, optional: true}\n"
            "sources: {wide: {transport: memory, name: a}, phone: {transport: browser, name: b}}")
    one, guide, wide, phone = parts.sources(show(tmp_path, text))
    assert (one.grade, guide.grade, wide.grade, phone.grade) == (own, others, others, OK)
    assert one.text.endswith(words)
    assert [each.subject for each in (one, guide, wide)] == ["source", "guide", "source wide"]
    assert "a page sends it" in phone.text


def test_a_probe_that_dies_or_hangs_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = show(tmp_path).source
    assert source is not None
    monkeypatch.setattr(parts, "PROBE", "lcm_daemon.no_such_module")
    assert "its process has died" in parts.probe_source("source", source)["error"]
    monkeypatch.setattr(parts, "PROBE", source_probe.__name__)
    monkeypatch.setattr(parts, "PROBE_SECONDS", 0.01)
    assert "does not open within" in parts.probe_source("source", source)["error"]


def test_sinks_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    text = "sinks: [{transport: memory, name: a}, {transport: spout, name: b, optional: true}]"
    here, elsewhere = parts.sinks(show(tmp_path, text))
    assert (here.grade, elsewhere.grade) == (OK, OK)
    assert "skipped" in elsewhere.text
    monkeypatch.setattr(sys, "platform", "win32")
    assert [one.grade for one in parts.sinks(show(tmp_path, text))] in ([OK, NOTE], [OK, OK])


def test_weights_are_read_and_damaged_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = show(tmp_path)
    assert next(one.grade for one in parts.weights(made)) == OK
    monkeypatch.setattr(parts, "find_missing", lambda recipe: [MissingFile("a/b", "unet.safetensors", 1, "damaged")])
    found = next(iter(parts.weights(made)))
    assert found.grade == FAULT
    assert found.text == f"a/b/unet.safetensors is damaged; lcm-daemon pull {made.file} fetches them"


def test_models_of_the_package_are_compared_with_what_pip_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class File:
        def __init__(self, name: str, digest: str) -> None:
            self.name, self.hash = name, type("Hash", (), {"value": digest})

        def __str__(self) -> str:
            return f"lcm_daemon/models/{self.name}"

        def locate(self) -> Path:
            return tmp_path / self.name

    (tmp_path / "a").write_text("whole")
    digest = parts._digest(tmp_path / "a")
    monkeypatch.setattr(parts, "recorded_files", lambda package: [File("a", digest)])
    assert [one.grade for one in parts._package()] == [OK]
    (tmp_path / "a").write_text("torn")
    assert [one.grade for one in parts._package()] == [FAULT]
    (tmp_path / "a").unlink()
    assert [one.grade for one in parts._package()] == [FAULT]
    monkeypatch.setattr(parts, "recorded_files", lambda package: [])
    assert list(parts._package()) == []


def test_programs_that_are_not_here_are_faults(tmp_path: Path) -> None:
    (text := tmp_path / "list.txt").write_text("")
    made = show(tmp_path, f"alarms: {{command: [{sys.executable}, -V]}}\n"
                          f"opening_hours: {{commands: {{open: [xset-is-not-here, dpms], close: [{text}]}}}}")
    assert [(one.text.partition(":")[0], one.grade) for one in parts.programs(made)] == [
        ("alarms.command", OK), ("opening_hours.commands.open", FAULT), ("opening_hours.commands.close", FAULT)]
    assert [*parts.programs(show(tmp_path))] == []
