"""What `doctor` says about the engines of a daemon that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcm_daemon.commands import running_engines
from lcm_daemon.core.errors import LcmDaemonError

ROWS = [
    {"name": "cuda:0", "device": "cuda:0 (NVIDIA H100)", "node": "", "state": "rendering", "fps": 19.84,
     "latency": 51.24, "memory": "70.1 of 79.2 GiB free"},
    {"name": "ray 1", "device": "cuda:0 (NVIDIA L4)", "node": "render-2", "state": "rendering", "fps": 9.0,
     "latency": 104.0, "memory": ""},
    {"name": "cpu", "device": "cpu", "node": "", "state": "loading unet", "fps": 0.0, "latency": 0.0, "memory": ""},
]


def test_engines_of_a_running_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def answer(host: str, port: int) -> dict[str, Any]:
        asked.append(port)
        return {"engines": ROWS}

    monkeypatch.setattr(running_engines, "read_health", answer)
    assert list(running_engines.running_engines(None)) == [
        ("cuda:0", True, "cuda:0 (NVIDIA H100), 19.8 frames/s, 51.2 ms, 70.1 of 79.2 GiB free"),
        ("ray 1", True, "cuda:0 (NVIDIA L4) on render-2, 9.0 frames/s, 104.0 ms"),
        ("cpu", False, "cpu: loading unet"),
    ]
    show = tmp_path / "show.yaml"
    show.write_text("{recipe: passthrough, panel: {port: 8123}}")
    assert len(list(running_engines.running_engines(str(show)))) == 3
    show.write_text("{recipe: passthrough, panel: false}")
    assert list(running_engines.running_engines(str(show))) == []
    assert asked == [8000, 8123]


def test_without_a_daemon_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int) -> dict[str, Any]:
        raise LcmDaemonError("no daemon answers")

    monkeypatch.setattr(running_engines, "read_health", refuse)
    assert list(running_engines.running_engines(None)) == []
    assert list(running_engines.running_engines("no-such-show")) == []
