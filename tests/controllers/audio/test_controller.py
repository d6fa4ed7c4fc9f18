"""The desk's part: the meter's rows, the tempo for the stage, and timecode from the samples."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.controllers.audio.controller import LIST, Audio
from lcm_daemon.controllers.audio.listener import Ears
from lcm_daemon.core.audio_names import BANDS, SECTION
from lcm_daemon.core.audio_ring import COLUMNS, RingReader
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.tempo import ExternalTempo, Tempo
from lcm_daemon.stage.audio_process import OwnedAudioRing
from tests.rigs.ltc import ltc_signal


@pytest.fixture
def ring() -> Iterator[OwnedAudioRing]:
    one = OwnedAudioRing()
    one.begin(48_000)
    yield one
    one.close()


def rig(**options: Any) -> tuple[ControlState, Audio]:
    controls = ControlState({}, {}, Metrics(), lambda: None)
    return controls, Audio(controls, options)


def test_the_meter_shows_the_levels_and_silence(ring: OwnedAudioRing) -> None:
    controls, audio = rig()
    ring.write(np.zeros((10, COLUMNS), np.float32), 5.0)
    ring.write_levels((0.123, 0.2, 0.3, 0.4, 1.0))
    audio.update(ring, 5.1)
    assert [row["name"] for row in controls.lists[LIST]] == list(BANDS)
    assert controls.lists[LIST][0]["level"] == 0.12
    audio.update(ring, 9.0)
    assert {row["level"] for row in controls.lists[LIST]} == {0.0}


def test_the_tempo_is_published_when_it_changes(ring: OwnedAudioRing) -> None:
    controls, audio = rig(tempo=True)
    audio.update(ring, 5.0)
    assert "tempo" not in controls.kept
    for number, (tempo, published) in enumerate([
            (Tempo(120.0, 4.0, 5.0), Tempo(120.0, 4.0, 5.0)),
            (Tempo(120.05, 6.001, 6.0), Tempo(120.0, 4.0, 5.0)),  # as good as the same
            (Tempo(120.0, 8.1, 7.0), Tempo(120.0, 8.1, 7.0)), (Tempo(9.0, 8.1, 7.0), Tempo(120.0, 8.1, 7.0))]):
        ring.write_tempo(tempo)
        audio.update(ring, 5.0)
        assert controls.kept["tempo"] == ExternalTempo(published, SECTION), number


def test_a_show_that_keeps_its_own_tempo_does(ring: OwnedAudioRing) -> None:
    controls, audio = rig()
    ring.write_tempo(Tempo(120.0, 4.0, 5.0))
    audio.update(ring, 5.0)
    assert "tempo" not in controls.kept


def test_it_reads_the_ring_that_the_stage_names_and_ends_without_one(ring: OwnedAudioRing) -> None:
    async def run(name: str) -> tuple[ControlState, bool]:
        controls, audio = rig()
        controls.kept[SECTION] = name
        await audio.start()
        await asyncio.sleep(0.01)
        has_rows = LIST in controls.lists
        await audio.stop()
        await audio.stop()
        return controls, has_rows

    assert asyncio.run(run(ring.name))[1]
    assert not asyncio.run(run(""))[1]
    assert not asyncio.run(run("no-such-block"))[1]


def test_timecode_that_is_heard_is_known(ring: OwnedAudioRing, monkeypatch: pytest.MonkeyPatch) -> None:
    controls, audio = rig(ltc=2)
    received: list[Any] = []
    monkeypatch.setattr(controls.timecode, "receive", received.append)
    signal, reader = ltc_signal((1, 0, 10, 0), 12), RingReader(ring)
    ears = Ears(AudioConfig(timecode=2), 48_000, 2, ring)
    for number in range(len(signal) // ears.hop):
        part = signal[number * ears.hop:(number + 1) * ears.hop]
        ears.hear(np.stack((np.zeros_like(part), part), axis=1), 50.0 + (number + 1) * ears.hop / 48_000)
        audio.decode(reader)
    assert received
    assert received[-1].origin == "audio"
    assert received[-1].frame_at(50.2) == pytest.approx((3600 + 10) * 25 + 5, abs=0.1), "5 frames after its start"


def test_timecode_gets_each_sample_once_and_begins_again_after_a_gap(ring: OwnedAudioRing, monkeypatch) -> None:
    made: list[Any] = []

    class Decoder:
        def __init__(self, rate: float) -> None:
            self.rate, self.fed = rate, []
            made.append(self)

        def feed(self, samples: np.ndarray, time: float) -> list[str]:
            self.fed.append((samples.tolist(), time))
            return [f"report {time}"]

    ltc = pytest.importorskip("lcm_daemon.controllers.timecode.ltc")
    monkeypatch.setattr(ltc, "LtcDecoder", Decoder)
    controls, audio = rig(ltc=2)
    received: list[object] = []
    monkeypatch.setattr(controls.timecode, "receive", received.append)
    reader = RingReader(ring)
    ring.write(np.full((4, COLUMNS), 0.5, np.float32), 5.0)
    audio.decode(reader)
    audio.decode(reader)
    ring.begin(44_100)
    ring.write(np.full((2, COLUMNS), 0.25, np.float32), 6.0)
    audio.decode(reader)
    assert [(one.rate, one.fed) for one in made] == [(48_000, [([0.5] * 4, 5.0)]), (44_100, [([0.25] * 2, 6.0)])]
    assert received == ["report 5.0", "report 6.0"]
