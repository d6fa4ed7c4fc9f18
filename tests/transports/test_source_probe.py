"""The source probe opens sources and tells what they send."""

from __future__ import annotations

import json

import pytest

from lcm_daemon.transports import source_probe


def test_the_probe_counts_frames(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(source_probe, "COUNT_SECONDS", 0.3)
    assert source_probe.main([json.dumps({"source": {"transport": "testcard", "options": {"fps": 50}}})]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["error"], found["size"]) == ("source", "", [512, 512])
    assert 3 <= found["frames"] <= 20


def test_the_probe_of_a_sender_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_probe, "FIRST_SECONDS", 0.1)
    found = source_probe.probe("memory", {"name": "nothing-sends-this"})
    assert (found["frames"], found["size"]) == (0, None)
    assert source_probe.probe("record", {})["error"] == "record has no source"
