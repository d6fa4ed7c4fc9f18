"""A recording carries the sound of the audio input, at its time; silence is where there was none."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from lcm_daemon.core.audio_ring import COLUMNS, AudioRing
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.stage.audio_process import OwnedAudioRing
from lcm_daemon.transports.record import RecordSink
from lcm_daemon.transports.sound_track import RATE
from tests.rigs.sounds import tone

FPS = 25.0
START = 100.0  # seconds of the clock at the first frame


class Take:
    """A recording: `play` writes the frames of some seconds, with what is heard in them."""

    def __init__(self, path: Path, ring: AudioRing | None, **options: object) -> None:
        self.path, self.ring, self.frames = path, ring, 0
        self.sink = RecordSink({"path": str(path), "keep_free": 0.0, "sound": True, **options})
        self.sink.ring = ring
        self.sink.open((64, 48), FPS)

    def play(self, seconds: float, sound: np.ndarray | None = None, rate: int = RATE) -> None:
        step = round(rate / FPS)
        for number in range(round(seconds * FPS)):
            now = START + self.frames / FPS
            if sound is not None and self.ring is not None:
                hop = sound[number * step:(number + 1) * step]
                self.ring.write(np.repeat(hop[:, None], COLUMNS, axis=1), now)
            self.sink.write(Frame(solid((64, 48)), self.frames, now))
            self.frames += 1

    def close(self) -> np.ndarray:
        """The left channel of what was recorded."""
        self.sink.close()
        with av.open(str(self.path)) as container:
            (stream,) = container.streams.audio
            assert (stream.rate, stream.layout.name) == (RATE, "stereo")
            assert len(list(container.decode(video=0))) == self.frames
        with av.open(str(self.path)) as container:
            parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
        if parts[0].shape[0] == 1:  # interleaved
            return np.concatenate([part[0, ::2] for part in parts]) / 32768.0
        return np.concatenate([part[0] for part in parts])


@pytest.fixture
def ring():
    one = OwnedAudioRing()
    yield one
    one.close()


def begins(sound: np.ndarray) -> float:
    """Seconds until it is loud."""
    return float(np.argmax(np.abs(sound) > 0.1)) / RATE


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mkv", "h264"), (".mov", "prores")])
def test_sound_is_at_its_time(tmp_path: Path, ring: OwnedAudioRing, suffix: str, codec: str) -> None:
    take = Take(tmp_path / f"take{suffix}", ring, codec=codec)
    ring.begin(RATE)
    sound = np.concatenate((np.zeros(RATE, np.float32), tone(440, 1.0)))
    take.play(2.0, sound)
    heard = take.close()
    assert begins(heard) == pytest.approx(1.0 - 1.0 / FPS, abs=0.03)
    assert len(heard) / RATE == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_another_rate_is_resampled(tmp_path: Path, ring: OwnedAudioRing, rate: int) -> None:
    take = Take(tmp_path / "take.mp4", ring)
    ring.begin(rate)
    take.play(1.0, tone(1000, 1.0, rate=rate), rate)
    heard = take.close()[RATE // 4:RATE // 2]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(1000, abs=10)


def test_silence_is_where_no_device_is_and_sound_comes_back_at_its_time(tmp_path: Path, ring: OwnedAudioRing) -> None:
    take = Take(tmp_path / "take.mp4", ring)
    ring.begin(RATE)
    take.play(0.4, tone(440, 0.4))
    take.play(2.0)
    ring.begin(RATE)
    take.play(0.6, tone(440, 0.6))
    heard = take.close()
    gap = heard[round(0.6 * RATE):round(2.2 * RATE)]
    assert np.max(np.abs(gap)) < 0.02
    assert round(0.6 * RATE) / RATE + begins(heard[round(0.6 * RATE):]) == pytest.approx(2.4, abs=0.06)


def test_without_any_audio_it_is_silent_and_whole(tmp_path: Path) -> None:
    take = Take(tmp_path / "take.mp4", None)
    take.play(1.5)
    heard = take.close()
    assert not np.any(np.abs(heard) > 0.001)


def test_the_next_show_gives_it_another_ring(tmp_path: Path, ring: OwnedAudioRing) -> None:
    take = Take(tmp_path / "take.mp4", AudioRing(OwnedAudioRing()._owned.memory))
    take.play(0.4)
    take.sink.ring = take.ring = ring
    ring.begin(RATE)
    take.play(1.0, tone(440, 1.0))
    assert begins(take.close()) == pytest.approx(0.4, abs=0.06)


def test_sound_that_nobody_asked_for_is_not_recorded(tmp_path: Path, ring: OwnedAudioRing) -> None:
    sink = RecordSink({"path": str(tmp_path / "take.mp4"), "keep_free": 0.0})
    sink.ring = ring
    sink.open((64, 48), FPS)
    sink.write(Frame(solid((64, 48)), 0, START))
    sink.close()
    with av.open(str(tmp_path / "take.mp4")) as container:
        assert not container.streams.audio
