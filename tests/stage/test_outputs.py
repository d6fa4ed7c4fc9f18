"""The sinks of a show are switched off and on, and recordings started and stopped."""

from __future__ import annotations

from pathlib import Path

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.shows.reader import load_show
from lcm_daemon.stage.outputs import Outputs


def outputs(folder: Path, sinks: str) -> Outputs:
    (folder / "show.yaml").write_text(f"sinks: {sinks}")
    return Outputs(load_show(folder / "show.yaml", environment={}), Metrics())


def test_a_name_switches_its_sinks(tmp_path: Path) -> None:
    found = outputs(tmp_path, "[{transport: memory, name: a}, {transport: memory, name: b, idle: true},"
                              " {transport: record, path: x.mp4}]")
    assert [sink.is_on for sink in found.sinks] == [True, False, True]
    for name, on, expected in (("a", False, [False, False, True]), ("b", True, [False, True, True]),
                               ("record", False, [False, True, False]), ("nothing", False, [False, True, False])):
        found.switch(name, on)
        assert [sink.is_on for sink in found.sinks] == expected


def test_record_starts_and_stops_recordings_only(tmp_path: Path) -> None:
    found = outputs(tmp_path, "[{transport: memory, name: a}, {transport: record, path: x.mp4, idle: true},"
                              " {transport: record, path: y.mp4}]")
    for on in (False, True, True):
        found.record(on, "osc")
        assert [sink.is_on for sink in found.sinks] == [True, on, on]
    assert found.refusals.pop() == []


def test_rows_have_state_size_and_rate_of_each_name(tmp_path: Path) -> None:
    found = outputs(tmp_path, "[{transport: memory, name: a}, {transport: memory, name: b, idle: true},"
                              " {transport: record, path: x.mp4, idle: true}]")
    found.rows(10.0)
    found._metrics.count("sent/memory a", 15)
    found.sinks[0].state = "the disk is full"
    rows = {row["name"]: row for row in found.rows(10.5)}
    assert rows["a"] == {"name": "a", "label": "memory a", "transport": "memory", "on": True,
                         "state": "the disk is full", "size": "512x512", "fps": 30}
    assert (rows["b"]["on"], rows["b"]["state"], rows["record"]["transport"]) == (False, "off", "record")
    assert found.recording() == {"record": "", "record_seconds": 0, "record_free": 0.0}


def test_rows_name_each_sink_once(tmp_path: Path) -> None:
    """Sinks of one name also have names of their own; an optional sink that is not installed has no row."""
    found = outputs(tmp_path, "[{transport: memory, name: record}, {transport: record, path: x.mp4}]")
    assert [row["name"] for row in found.rows(10.0)] == ["memory-record", "record-record"]
    found = outputs(tmp_path, "[{transport: memory, name: lcm}, {transport: spout, name: lcm, optional: true}]")
    assert [row["name"] for row in found.rows(10.0)] == ["lcm"]


def test_without_a_recording_the_request_is_refused(tmp_path: Path) -> None:
    found = outputs(tmp_path, "[{transport: memory, name: a}]")
    found.record(True, "osc/10.0.0.7:5")
    (refusal,) = found.refusals.pop()
    assert refusal.origin == "osc/10.0.0.7:5"
    assert refusal.text == "record/start: the show has no sink of the transport record"
