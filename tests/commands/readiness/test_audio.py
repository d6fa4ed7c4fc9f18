"""The audio device of a show: here, absent, with too few channels."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.commands.readiness import audio
from lcm_daemon.commands.readiness.finding import NOTE, OK
from lcm_daemon.shows.reader import load_show
from tests.rigs.standin_sounddevice import Audio


@pytest.mark.parametrize(("section", "grade", "words"), [
    ("audio: {}", OK, "Mic: 2 channels, 48000 Hz"), ("audio: {device: Line}", NOTE, "no input device 'Line' is there"),
    ("audio: {ltc: 3, channels: [1]}", NOTE, "Mic has 2 channels, and the show uses number 3"),
    ("audio: false", None, "")])
def test_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, grade: str | None, words: str
) -> None:
    monkeypatch.setattr(audio, "load", lambda: Audio(("Mic", 2, 48_000.0, "ALSA")))
    (tmp_path / "show.yaml").write_text(f"recipe: passthrough\n{section}\n")
    found = list(audio.audio_device(load_show(tmp_path / "show.yaml", environment={})))
    assert [one.grade for one in found] == ([grade] if grade else [])
    assert all(words in one.text for one in found)
