"""How many cards `engines: auto` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.stage import cards


@pytest.mark.parametrize(("chosen", "count"), [("0,1,2", 3), ("", 0), ("-1", 0), ("GPU-1a, GPU-2b", 2)])
def test_the_environment_chooses(chosen: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert cards.count_cards() == count


def test_the_driver_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cards, "_LINUX", tmp_path)
    assert cards.count_cards() == 2


def test_elsewhere_its_tool_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cards, "_LINUX", tmp_path / "absent")
    monkeypatch.setattr(cards.shutil, "which", lambda name: None)
    assert cards.count_cards() == 0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A (UUID: GPU-1)'\necho 'GPU 1: NVIDIA A (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(cards.shutil, "which", lambda name: str(tool))
    assert cards.count_cards() == 2
