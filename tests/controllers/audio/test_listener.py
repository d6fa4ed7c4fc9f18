"""The process's loop: it opens the device when it is there, and says what happens once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.controllers.audio.listener import FIRST_PAUSE, LONGEST_PAUSE, AudioState, Ears, Listener
from lcm_daemon.core.audio_ring import RingReader
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.stage.audio_process import OwnedAudioRing
from tests.rigs.sounds import drums, tone
from tests.rigs.standin_sounddevice import Audio

MIC = ("Mic", 2, 48_000.0, "ALSA")


class Done(Exception):
    """Ends a loop that has no end."""


@pytest.fixture
def ring() -> Iterator[OwnedAudioRing]:
    one = OwnedAudioRing()
    yield one
    one.close()


def play(audio: Audio, ring: OwnedAudioRing, *between: Callable[[], object], **config: object) -> list[AudioState]:
    """Run the loop. between: What happens in each pause; the loop ends after the last one."""
    states: list[AudioState] = []
    pending, pauses = list(between), []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not pending:
            raise Done
        pending.pop(0)()

    listener = Listener(AudioConfig(**config), ring, states.append, lambda: audio, sleep)  # type: ignore[arg-type, return-value]
    with pytest.raises(Done):
        listener.run()
    play.pauses = pauses  # type: ignore[attr-defined]
    return states


def full(audio: Audio, sound: np.ndarray) -> Callable[[], None]:
    """Plug in the microphone, which sends a sound and is then unplugged."""
    def plug() -> None:
        audio.devices[:] = [MIC]
        audio.sound = np.repeat(sound[:, None], 64, axis=1)
        audio.on_empty = lambda: audio.devices.clear()
    return plug


def test_it_comes_goes_and_comes_back_with_one_line_each(
    ring: OwnedAudioRing, caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "lcm_daemon.controllers.audio")
    audio, sound = Audio(), tone(60, 0.1)
    states = play(audio, ring, lambda: None, lambda: None, full(audio, sound), lambda: None, full(audio, sound))
    lost = "audio: no input device is there"
    assert [(state.text, state.listens) for state in states] == [
        (lost, False), ("Mic, 48000 Hz", True), (states[2].text, False), (lost, False),
        ("Mic, 48000 Hz", True), (states[2].text, False)]
    assert states[2].text.startswith("audio: Mic is gone")
    assert len(caplog.messages) == 6
    assert caplog.messages[0].endswith("the show plays without it, and it is tried again")
    assert audio.open_streams == 0
    assert ring.signs_of_life > 6


def test_a_device_that_sends_zeros_is_looked_for_again(ring: OwnedAudioRing) -> None:
    """As a program that has left JACK."""
    audio = Audio(MIC)
    audio.sound = np.zeros((round(3.2 * 48_000), 64), np.float32)

    def unplug_when_opened_again() -> None:
        if len(audio.opened) == 2:
            audio.devices.clear()

    audio.on_empty = unplug_when_opened_again
    states = play(audio, ring)
    assert (len(audio.opened), audio.looks) == (2, 2)
    assert len(states) == 2, "it was there still, which needs no words; then it was gone"


def test_a_channel_that_the_device_does_not_have_is_said(ring: OwnedAudioRing) -> None:
    for config, text in (({}, "Mic, 48000 Hz"), ({"channels": (1, 3)}, "Mic, 48000 Hz; it has no channel 3"),
                         ({"timecode": 4}, "Mic, 48000 Hz; it has no channel 4")):
        audio = Audio(MIC)
        audio.on_empty = audio.devices.clear
        assert play(audio, ring, **config)[0].text == text


def test_it_tries_less_often_while_nothing_is_there(ring: OwnedAudioRing) -> None:
    play(Audio(), ring, *[lambda: None] * 6)
    pauses = play.pauses  # type: ignore[attr-defined]
    assert pauses[0] == FIRST_PAUSE
    assert pauses[-1] == LONGEST_PAUSE


def test_without_the_library_it_waits(ring: OwnedAudioRing) -> None:
    states: list[AudioState] = []

    def missing() -> None:
        raise MissingIntegration("audio", "sounddevice is not installed", "pip")

    def sleep(seconds: float) -> None:
        raise Done

    with pytest.raises(Done):
        Listener(AudioConfig(), ring, states.append, missing, sleep).run()  # type: ignore[arg-type]
    assert states[0].text.startswith("audio: sounddevice is not installed")


def test_what_it_hears_is_in_the_ring(ring: OwnedAudioRing) -> None:
    ears = Ears(AudioConfig(channels=(1,), timecode=2, gain=0.0), 48_000, 2, ring)
    reader = RingReader(ring)
    samples = np.stack((tone(60, 0.2), np.full(9600, 0.25, np.float32)), axis=1)
    for number in range(len(samples) // ears.hop):
        ears.hear(samples[number * ears.hop:(number + 1) * ears.hop], 10.0 + number * ears.hop / 48_000)
    sound = reader.read()
    assert sound is not None
    assert np.array_equal(sound.samples[:, 0], sound.samples[:, 1])
    assert set(sound.samples[:, 2]) == {0.25}
    assert ring.levels(10.2)["low"] == pytest.approx(0.5, abs=0.1)


def test_the_time_of_samples_does_not_jitter(ring: OwnedAudioRing) -> None:
    ears, random = Ears(AudioConfig(), 48_000, 2, ring), np.random.default_rng(4)
    samples, ends = np.zeros((256, 2), np.float32), []
    for number in range(400):
        ears.hear(samples, 10.0 + number * 256 / 48_000 + random.uniform(0.0, 0.004))
        ends.append(ring.place()[3])
    steps = np.diff(ends)
    assert np.max(np.abs(steps - 256 / 48_000)) < 0.0002


def test_samples_beyond_all_measure_are_as_loud_as_can_be(ring: OwnedAudioRing) -> None:
    ears = Ears(AudioConfig(), 48_000, 1, ring)
    for value in (np.inf, 3e38, -3e38, 1.0):
        ears.hear(np.full((256, 1), value, np.float32), 1.0)
    assert all(0.0 <= level <= 1.0 for level in ring.levels(1.0).values())


def test_a_channel_that_is_not_there_and_samples_that_are_no_numbers_are_silence(ring: OwnedAudioRing) -> None:
    ears = Ears(AudioConfig(channels=(7,), timecode=9), 48_000, 1, ring)
    reader = RingReader(ring)
    ears.hear(np.full((256, 1), np.nan, np.float32), 1.0)
    sound = reader.read()
    assert sound is not None
    assert not sound.samples.any()
    assert ring.levels(1.0)["level"] == 0.0


def test_a_tempo_is_measured_where_the_show_wants_it(ring: OwnedAudioRing) -> None:
    for wanted in (False, True):
        ears, sound = Ears(AudioConfig(tempo=wanted), 48_000, 1, ring), drums(120.0, 6.0)[:, None]
        for number in range(len(sound) // ears.hop):
            ears.hear(sound[number * ears.hop:(number + 1) * ears.hop], 10.0 + number * ears.hop / 48_000)
        assert (ring.tempo()[0] > 0) is wanted
    assert ring.tempo()[1].bpm == pytest.approx(120.0, abs=0.5)
