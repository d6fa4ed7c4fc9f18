"""A copy of a show plays beside it: nothing of it is heard or seen by others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.commands.show_copy import copy_environment, copy_overrides
from lcm_daemon.core.network import NetworkPolicy
from lcm_daemon.shows.reader import load_show

SHOW = """\
source: {transport: memory, name: stage}
sinks: [{transport: ndi, name: out, optional: true}, {transport: record, path: takes/a.mp4}]
cues:
  - {name: dawn, set: {strength: 0.4}}
  - {name: dusk, set: {strength: 0.6}, send: [{osc: /lamp, to: "10.0.0.9:7000"}]}
network: {hosts: [lcm.example.org], access: {pin: "481516"}, ndi_discovery: ["10.0.0.5:5959"]}
osc: {port: 9300, feedback: ["10.0.0.9:9001"]}
oscquery: {port: 9400}
opening_hours: {open: [{from: "10:00", to: "10:01"}]}
log: {file: show.log}
alarms: {webhook: "http://10.0.0.9/alarm", osc: ["10.0.0.9:7000"]}
care: {night: {from: "00:00", to: "23:59"}}
panel: {host: 0.0.0.0, port: 8300}
audience: {host: 0.0.0.0}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "show.yaml"
    path.write_text(SHOW)
    return path


def test_a_copy_sends_and_serves_nothing_to_others(file: Path) -> None:
    show = load_show(file)
    copy = load_show(file, copy_overrides(show, "bus", 8391), environment={})
    assert [(sink.transport, sink.options["name"]) for sink in copy.sinks] == [("memory", "bus")]
    on = {name: options for name, options in copy.controllers.items() if options is not None}
    assert list(on) == ["panel"]
    assert (on["panel"]["host"], on["panel"]["port"]) == ("127.0.0.1", 8391)
    assert (copy.audience, copy.resume, copy.cue_destinations) == (None, False, ())
    assert copy.network == NetworkPolicy(ndi_discovery=("10.0.0.5:5959",))  # where its sources are found
    assert [cue.values for cue in copy.cues] == [cue.values for cue in show.cues]
    kept = copy.unattended
    assert (kept.opening_hours, kept.alarms, kept.log.file, kept.crash_reports.keep) == (None, None, "", 0)
    assert kept.care is not None
    assert kept.care.night is None
    assert (copy.source, copy.recipe) == (show.source, show.recipe)


def test_a_copy_has_osc_where_it_is_asked_for(file: Path) -> None:
    copy = load_show(file, copy_overrides(load_show(file), "bus", 8391, 8392), environment={})
    assert copy.osc is not None
    assert (copy.osc["host"], copy.osc["port"], list(copy.osc["feedback"])) == ("127.0.0.1", 8392, [])


def test_variables_of_what_a_copy_replaces_do_not_reach_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCM_DAEMON__OSC__PORT", "9000")
    monkeypatch.setenv("LCM_DAEMON__OUTPUT__FPS", "50")
    given = copy_environment(copy_overrides(load_show(file), "bus", 8391))
    assert "LCM_DAEMON__OSC__PORT" not in given
    assert load_show(file, copy_overrides(load_show(file), "bus", 8391), given).fps == 50.0
