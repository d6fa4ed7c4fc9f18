"""The tempo of drums, and where their beats are."""

from __future__ import annotations

import numpy as np
import pytest

from lcm_daemon.controllers.audio.analysis import Analyser
from lcm_daemon.controllers.audio.tempo import TempoTracker
from tests.rigs.sounds import RATE, drums, silence, tone

START = 100.0  # seconds of the clock at which the sound begins


def follow(sound: np.ndarray, tracker: TempoTracker | None = None, begun: float = START) -> TempoTracker:
    analyser = Analyser(RATE)
    tracker = tracker or TempoTracker(RATE / analyser.hop)
    for number in range(len(sound) // analyser.hop):
        analyser.feed(sound[number * analyser.hop:(number + 1) * analyser.hop])
        tracker.feed(analyser.flux, begun + (number + 1) * analyser.hop / RATE)
    return tracker


@pytest.mark.parametrize("bpm", [70.0, 128.3, 174.0])
def test_the_tempo_of_drums_is_heard(bpm: float) -> None:
    tempo = follow(drums(bpm, 9.0)).tempo
    assert tempo is not None
    assert tempo.bpm == pytest.approx(bpm, abs=0.5)


def test_its_beats_are_those_of_the_drums() -> None:
    tempo = follow(drums(120.0, 10.0, start=0.2)).tempo
    assert tempo is not None
    errors = [(tempo.beat_at(START + 0.2 + beat * 0.5) + 0.5) % 1.0 - 0.5 for beat in range(12, 20)]
    assert max(np.abs(errors)) * 0.5 < 0.025, "seconds"


def test_beats_are_counted_on() -> None:
    tracker = follow(drums(120.0, 8.0))
    assert tracker.tempo is not None
    before = tracker.tempo.beat_at(START + 8.0)
    follow(drums(120.0, 8.0), tracker, START + 8.0)
    assert tracker.tempo.beat_at(START + 16.0) == pytest.approx(before + 16.0, abs=0.1)


def test_silence_and_noise_have_none() -> None:
    assert follow(silence(8.0)).tempo is None
    assert follow(tone(50, 8.0)).tempo is None, "hum repeats exactly, but has no beats"
    noise = np.random.default_rng(3).normal(0.0, 0.1, 8 * RATE).astype(np.float32)
    assert follow(noise).tempo is None
