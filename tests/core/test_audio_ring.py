"""The ring: what is written is read once, in order and with its time; nothing stays when the writer has gone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lcm_daemon.core.audio_names import BANDS, SILENCE
from lcm_daemon.core.audio_ring import COLUMNS, FRAMES, AudioRing, RingReader, attach
from lcm_daemon.core.tempo import Tempo
from lcm_daemon.stage.audio_process import OwnedAudioRing


@pytest.fixture
def ring() -> Iterator[OwnedAudioRing]:
    one = OwnedAudioRing()
    yield one
    one.close()


def count(first: int, last: int) -> np.ndarray:
    return np.repeat(np.arange(first, last, dtype=np.float32)[:, None], COLUMNS, axis=1)


def test_samples_come_once_with_their_time(ring: OwnedAudioRing) -> None:
    ring.begin(48_000)
    ring.write(count(0, 480), 5.0)
    reader = RingReader(ring)
    assert reader.read() is None, "what was before is not read"
    ring.write(count(480, 960), 5.01)
    ring.write(count(960, 1440), 5.02)
    sound = reader.read()
    assert sound is not None
    assert sound.samples[:, 2].tolist() == list(range(480, 1440))
    assert (sound.rate, sound.gap, sound.end, sound.start) == (48_000, False, 5.02, pytest.approx(5.0))
    assert reader.read() is None


def test_it_goes_round(ring: OwnedAudioRing) -> None:
    ring.begin(48_000)
    reader, at = RingReader(ring), 0
    for _ in range(6):
        ring.write(count(at, at + FRAMES // 4 - 7), 5.0)
        sound = reader.read()
        assert sound is not None
        assert sound.samples[:, 0].tolist() == list(range(at, at + FRAMES // 4 - 7))
        at += FRAMES // 4 - 7


def test_a_slow_reader_gets_the_newest_and_knows_of_the_gap(ring: OwnedAudioRing) -> None:
    ring.begin(48_000)
    reader = RingReader(ring)
    for number in range(3):
        ring.write(count(number * FRAMES // 4, (number + 1) * FRAMES // 4), 5.0)
    sound = reader.read()
    assert sound is not None
    assert sound.gap
    assert sound.samples[-1, 0] == 3 * FRAMES // 4 - 1
    assert len(sound.samples) == FRAMES // 2


def test_another_device_is_a_gap(ring: OwnedAudioRing) -> None:
    ring.begin(48_000)
    reader = RingReader(ring)
    ring.write(count(0, 10), 5.0)
    ring.begin(44_100)
    assert reader.read() is None
    ring.write(count(0, 10), 6.0)
    sound = reader.read()
    assert sound is not None
    assert (sound.rate, sound.gap, len(sound.samples)) == (44_100, True, 10)


def test_levels_are_silence_once_nothing_arrives(ring: OwnedAudioRing) -> None:
    ring.begin(48_000)
    ring.write(count(0, 10), 5.0)
    ring.write_levels((0.1, 0.2, 0.3, 0.4, 0.5))
    assert ring.levels(5.1) == dict(zip(BANDS, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True))
    assert ring.levels(6.0) == SILENCE


def test_another_process_reads_it_and_it_is_silent_once_it_is_closed(ring: OwnedAudioRing) -> None:
    other = AudioRing(attach(ring.name))
    ring.begin(48_000)
    ring.write(count(0, 10), 5.0)
    ring.write_tempo(Tempo(120.0, 3.5, 5.0))
    assert other.tempo() == (1, Tempo(120.0, 3.5, 5.0))
    reader = RingReader(other)
    other.close()
    ring.write(count(0, 10), 5.0)
    assert reader.read() is None
    assert (other.levels(5.0), other.tempo()[0], other.signs_of_life) == (SILENCE, 0, 0)
