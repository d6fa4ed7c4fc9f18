"""What monitors read: `/livez`, `/readyz`, `/metrics`, and `/health` without prompts for strangers."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import Any

import pytest

from lcm_daemon.controllers.panel import exposition
from lcm_daemon.controllers.panel.exposition import state_word
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import AccessPolicy, NetworkPolicy
from lcm_daemon.core.requests import ParameterState
from lcm_daemon.core.stage_numbers import StageNumbers
from tests.conftest import need_module
from tests.rigs.panel import Rig, get, serving

parser = need_module("prometheus_client.parser", "prometheus-client")
PROMPT = "a very private ocean"
STRANGER = {"X-Forwarded-For": "10.0.0.9"}  # behind a proxy that the show does not know: not of this machine


def playing() -> Rig:
    rig, metrics = Rig(), Metrics()
    for path, count in (("engine/rendered", 90), ("dropped/sink", 3), ("engine/ended/hung", 2), ("sent/ndi lcm", 80)):
        metrics.count(path, count)
    for seconds in (0.0005, 0.03, 0.03, 20.0):
        metrics.time("latency", seconds)
    now = time.monotonic()
    rig.controls.numbers = StageNumbers(
        now, metrics.counts(), {"osc/malformed": 7}, metrics.durations(), ("disk",), now, {"ndi lcm": now - 1.0}, 0.02,
        0.01, 100, 4, 30.0, True, {"stage": os.getpid(), "engine": 999_999_999}, {"engine": (10, 80)})
    rig.controls.values["prompt"] = PROMPT
    rig.controls.apply_update([], {
        "show": "mirror", "recipe": "builtin", "fps": 29.5, "gpu_temperature": 61.0, "failsafe": False,
        "source": "ndi CAM: running", "error": f"{PROMPT}: is refused"},
        {"prompt": ParameterState(PROMPT, PROMPT, "page")})
    rig.controls.set_list("engines", ({"name": "engine", "state": "rendering"},))
    rig.controls.set_list("sinks", ({"name": "ndi", "state": "the name is taken by 10.0.0.7"},))
    return rig


def asking(rig: Rig, *paths: str, options: Any = None, **headers: str) -> list[Any]:
    async def scenario() -> list[Any]:
        async with serving(rig, **(options or {})) as panel:
            return [await get(panel, path, **headers) for path in paths]

    return asyncio.run(scenario())


def samples(text: str) -> dict[str, float]:
    """Every sample as "name{label=value}"."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("lcm_daemon_") + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_a_show_that_plays_and_one_whose_stage_hangs() -> None:
    rig = playing()
    live, ready = asking(rig, "/livez", "/readyz")
    assert (live.status, live.json["alive"]) == (200, True)
    assert (ready.status, ready.json["ready"]) == (200, True)
    assert 0.0 <= ready.json["output_age"] < 10.0
    assert rig.controls.numbers is not None
    rig.controls.numbers = replace(rig.controls.numbers, at=time.monotonic() - 60)
    live, ready = asking(rig, "/livez", "/readyz")
    assert (live.status, ready.status) == (503, 503)
    assert "has not ticked for 6" in live.json["reason"]


def test_the_numbers_for_prometheus() -> None:
    (answer,) = asking(playing(), "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.body.decode())
    wanted = {
        "alive": 1, "ready": 1, "frames_total{of=rendered}": 90, "frames_total{of=output}": 100,
        "fps{of=rendered}": 29.5, "fps{of=wanted output}": 30,
        "sink_frames_total{sink=ndi lcm}": 80, "dropped_total{reason=sink}": 3, "dropped_total{reason=late tick}": 4,
        "restarts_total{cause=hung,process=engine}": 2, "alarm{cause=disk}": 1, "alarms": 1,
        "latency_seconds_count": 4, "latency_seconds_bucket{le=0.001}": 1, "latency_seconds_bucket{le=0.0334}": 3,
        "latency_seconds_bucket{le=10.0}": 3, "latency_seconds_bucket{le=+Inf}": 4,
        "state{name=engine,part=engine,state=rendering}": 1, "state{name=ndi,part=sink,state=failed}": 1,
        "state{name=ndi CAM,part=source,state=running}": 1, "status{name=gpu_temperature}": 61,
        "events_total{event=osc/malformed}": 7, "device_memory_bytes{engine=engine,kind=total}": 80,
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["latency_seconds_sum"] == pytest.approx(20.0605)
    assert found["process_resident_bytes{process=stage}"] > 1e6
    assert 0.0 < found["output_age_seconds"] < 10.0 < 60
    assert found["sink_age_seconds{sink=ndi lcm}"] >= 1.0
    assert "process_resident_bytes{process=engine}" not in found, "a process that has ended has no memory"
    assert PROMPT not in answer.body.decode()


def test_open_metrics_where_the_reader_asks_for_it() -> None:
    (answer,) = asking(playing(), "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


def test_metrics_before_the_stage_has_said_anything() -> None:
    (answer,) = asking(Rig(), "/metrics")
    assert samples(answer.body.decode())["alive"] == 0


def test_without_the_library_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, exposition.__name__, None)
    (answer,) = asking(playing(), "/metrics")
    assert answer.status == 501
    assert b'pip install "lcm-daemon[metrics]"' in answer.body


@pytest.mark.parametrize(("others", "monitors", "wanted"), [
    ("none", [], [200, 200, 401, 401]), ("none", ["127.0.0.1"], [200, 200, 200, 401]),
    ("view", [], [200, 200, 200, 200]),
])
def test_monitors_need_no_pin(others: str, monitors: list[str], wanted: list[int]) -> None:
    rig = playing()
    rig.controls.network = NetworkPolicy(access=AccessPolicy("123456", others, local_pin=True))
    answers = asking(rig, "/livez", "/readyz", "/metrics", "/health", options={"monitors": monitors})
    assert [answer.status for answer in answers] == wanted


def test_health_quotes_nothing_for_strangers() -> None:
    """A prompt that was refused is in no value; the line that refuses it is cut off, and so is its quotation."""
    rig = playing()
    rig.controls.status = {**rig.controls.status, "error": "the show's prompt: 'a portrait of Bob, wh; say 1"}
    rig.controls.lists["engines"] = ({"name": "engine", "state": "cannot encode 'a portrait of Bob'"},)
    assert "Bob" not in asking(rig, "/health", **STRANGER)[0].body.decode()


def test_health_has_no_prompts_for_strangers() -> None:
    (own,), (foreign,) = (asking(playing(), "/health", **headers) for headers in ({}, STRANGER))
    assert own.json["values"]["prompt"] == own.json["live"]["prompt"]["value"] == PROMPT
    assert PROMPT in own.json["status"]["error"]
    assert PROMPT not in foreign.body.decode()
    assert foreign.json["values"]["prompt"] == foreign.json["live"]["prompt"]["base"] == "(hidden)"
    assert foreign.json["values"]["strength"] == 0.5
    viewer = playing()
    viewer.controls.network = NetworkPolicy(access=AccessPolicy("123456", "view", local_pin=True))
    assert PROMPT not in asking(viewer, "/health")[0].body.decode()


def test_a_state_in_words_is_one_of_few_labels() -> None:
    states = ("running", "loading", "unchanged for 40 s", "no sender named CAM 1 in the network", "running; opening b")
    assert [state_word(state) for state in states] == ["running", "loading", "unchanged", "failed", "running"]
