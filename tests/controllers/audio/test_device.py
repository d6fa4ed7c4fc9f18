"""Which device a name means; devices that come, go, or send nothing. The stand-in has the names of sounddevice."""

from __future__ import annotations

import inspect
import time

import numpy as np
import pytest

from lcm_daemon.controllers.audio import device
from lcm_daemon.controllers.audio.device import AudioDevice, AudioError, FoundDevice, choose, load, look
from lcm_daemon.core.errors import MissingIntegration
from tests.conftest import need_module
from tests.rigs.standin_sounddevice import Audio

JACK, ALSA, WASAPI, MME = "JACK Audio Connection Kit", "ALSA", "Windows WASAPI", "MME"


def found(*devices: tuple[str, str]) -> list[FoundDevice]:
    return [FoundDevice(number, name, host, 2, 48_000.0, number == 1) for number, (name, host) in enumerate(devices)]


@pytest.mark.parametrize(("name", "number"), [
    ("Mic", 1), ("mic", 1), ("scarlett*", 2), ("Solo", 2), ("", 1), ("Mic 2", 0)])
def test_a_name_a_pattern_or_a_part_of_a_name(name: str, number: int) -> None:
    devices = found(("Mic 2", ALSA), ("Mic", ALSA), ("Scarlett Solo USB: Audio (hw:1,0)", ALSA))
    assert choose(devices, name).number == number


def test_a_backend_that_is_named_counts_and_the_better_one_else() -> None:
    devices = found(("Mic", MME), ("Mic", WASAPI), ("player", JACK))
    assert choose(devices, "Mic").backend == WASAPI
    assert choose(devices, "Mic", "mme").backend == MME
    assert choose(devices, "", "jack").name == "player"


@pytest.mark.parametrize(("name", "backend", "text"), [
    ("Mik", "auto", "audio: no input device 'Mik' is there; did you mean 'Mic'?"),
    ("Mic", "jack", "audio: no input device of jack is there")])
def test_one_that_is_not_there_is_one_line(name: str, backend: str, text: str) -> None:
    with pytest.raises(AudioError) as error:
        choose(found(("Mic", ALSA)), name, backend)
    assert str(error.value) == text


def test_a_device_that_was_plugged_in_is_found_at_the_next_look() -> None:
    audio = Audio(("Mic", 2, 48_000.0, ALSA), ("Speaker", 0, 48_000.0, ALSA))
    assert [each.name for each in look(audio)] == ["Mic"]  # type: ignore[arg-type]
    audio.devices.append(("Scarlett", 18, 44_100.0, ALSA))
    assert [(each.name, each.channels) for each in look(audio)] == [("Mic", 2), ("Scarlett", 18)]  # type: ignore[arg-type]


def opened(audio: Audio, channels: int = 2, rate: int | None = None) -> AudioDevice:
    return AudioDevice(audio, choose(look(audio), ""), channels, rate)  # type: ignore[arg-type]


def test_it_gives_as_many_channels_as_it_has() -> None:
    audio = Audio(("Mic", 1, 44_100.0, ALSA))
    audio.sound = np.full((512, 64), 0.5, np.float32)
    one = opened(audio, 3)
    samples, _, gap = one.read(256)
    assert (one.channels, one.rate, samples.shape, gap) == (1, 44_100, (256, 1), False)
    assert audio.opened[0]["dtype"] == "float32"
    one.close()
    assert opened(audio, 1, 48_000).rate == 48_000


def test_samples_are_read_in_other_pieces_than_they_come_in() -> None:
    audio = Audio(("Mic", 2, 48_000.0, ALSA))
    audio.sound, audio.overflows = np.repeat(np.arange(1000, dtype=np.float32)[:, None], 64, axis=1), True
    one = opened(audio)
    begun = time.perf_counter()
    first, second = one.read(150), one.read(256)
    assert np.concatenate((first[0], second[0]))[:, 1].tolist() == list(range(406))
    assert (first[2], second[2]) == (True, True)
    assert first[1] <= begun - 50 / 48_000 < second[1] + 0.1, "50 samples of the first block came later"


def test_one_that_is_gone_is_one_line() -> None:
    audio = Audio(("Mic", 2, 48_000.0, ALSA))
    mic = choose(look(audio), "")  # type: ignore[arg-type]
    audio.devices.clear()
    with pytest.raises(AudioError) as error:
        AudioDevice(audio, mic, 2)  # type: ignore[arg-type]
    assert str(error.value) == "audio: Mic cannot be opened: Error opening InputStream: Device unavailable"


@pytest.mark.parametrize("finishes", [True, False])
def test_one_that_goes_or_sends_nothing_is_gone(monkeypatch: pytest.MonkeyPatch, finishes: bool) -> None:
    monkeypatch.setattr(device, "START_SECONDS", 60.0 if finishes else 0.01)
    audio = Audio(("Mic", 2, 48_000.0, ALSA))
    audio.on_empty = lambda: audio.devices.clear() if finishes else None
    one = opened(audio)
    with pytest.raises(AudioError, match="audio: Mic is gone: it sends nothing"):
        one.read(256)
    one.close()
    one.close()


def test_without_the_library_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", None)
    with pytest.raises(MissingIntegration, match=r'sounddevice is not installed; install it with: pip install "lcm'):
        load()


def test_the_stand_in_has_the_names_of_sounddevice() -> None:
    real = need_module("sounddevice")
    for name in ("_terminate", "_initialize", "query_hostapis", "query_devices", "InputStream", "PortAudioError"):
        assert hasattr(real, name), name
    given = set(inspect.signature(real.InputStream.__init__).parameters)
    assert {"samplerate", "device", "channels", "dtype", "latency", "callback", "finished_callback"} <= given
    for name in ("start", "abort", "close", "samplerate"):
        assert hasattr(real.InputStream, name), name
