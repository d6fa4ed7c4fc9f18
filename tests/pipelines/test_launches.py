"""What a frame launches on a CUDA device while everything moves, counted as `python -m tests.measure.launches` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.measure import launches

LIMIT = 8  # launches and copies of a frame: replays and the noise of a new seed included


@pytest.mark.slow
def test_a_frame_launches_little_and_waits_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ControlNet, which has every part of a plain frame too."""
    monkeypatch.setattr(launches, "CASES", {"ControlNet": launches.CASES["ControlNet"]})
    monkeypatch.setattr(launches, "FRAMES", 3)
    found = launches.measure(tmp_path)["ControlNet"]
    assert found.most <= LIMIT, found.listed
    assert found.waits == 1, "the wait for the picture"
    assert not any("pageable" in what or what.startswith("launch") for what in found.listed)
    assert found.recorded > 500, "else the frame was not recorded"
