"""The tempo: from taps, from a number, and stopped."""

from __future__ import annotations

import pytest

from lcm_daemon.core.tempo import Tap, Tempo


def test_taps_set_tempo_and_beat() -> None:
    tap, tempo = Tap(), Tempo()
    for number in range(5):
        tempo = tap.tap(tempo, 10.0 + number * 0.4)
    assert tempo.bpm == pytest.approx(150.0)
    assert tempo.beat_at(11.6) == pytest.approx(round(tempo.beat_at(11.6)))
    assert tempo.beat_at(12.0) - tempo.beat_at(11.6) == pytest.approx(1.0)
    slow = tap.tap(tempo, 30.0)
    assert slow.bpm == pytest.approx(150.0), "after a pause a tap starts a new series"


def test_next_is_the_next_multiple() -> None:
    tempo = Tempo(bpm=120.0)
    assert tempo.next(4.0, 0.5) == 4.0
    assert tempo.next(4.0, 2.0) == 4.0
    assert tempo.next(1.0, 2.1) == 5.0


def test_a_stopped_tempo_continues_from_its_beat() -> None:
    tempo = Tempo(120.0, 7.0, 10.0, running=False)
    assert tempo.beat_at(10.0) == tempo.beat_at(99.0) == 7.0
    assert tempo.at(60.0, 100.0).beat_at(101.0) == 8.0
