"""The key `audio` of a show, and what needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.commands.show_copy import copy_overrides
from lcm_daemon.controllers.audio.config import AudioConfig
from lcm_daemon.core.document import DocumentError
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show


def read(tmp_path: Path, text: str) -> Show:
    (tmp_path / "show.yaml").write_text(f"recipe: passthrough\n{text}\n")
    return load_show(tmp_path / "show.yaml", environment={})


def mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(DocumentError) as found:
        read(tmp_path, text)
    return str(found.value).replace(str(tmp_path), "")


def test_it_is_off_unless_a_show_has_it(tmp_path: Path) -> None:
    assert read(tmp_path, "").controllers["audio"] is None
    assert read(tmp_path, "audio: false").controllers["audio"] is None
    options = read(tmp_path, "audio: {}").controllers["audio"]
    assert options is not None
    assert AudioConfig.of(options) == AudioConfig()


def test_every_key(tmp_path: Path) -> None:
    options = read(tmp_path, "audio: {device: 'Scar*', backend: jack, channels: [3], ltc: 4, rate: 44100, gain: 6, "
                             "gate: -50, tempo: true}").controllers["audio"]
    assert options is not None
    config = AudioConfig.of(options)
    assert config == AudioConfig("Scar*", "jack", (3,), 4, 44_100, 6.0, -50.0, True)
    assert config.wanted_channels == 4
    assert read(tmp_path, "audio: {gain: auto}").controllers["audio"]["gain"] is None  # type: ignore[index]


@pytest.mark.parametrize(("text", "place"), [
    ("audio: {backend: jak}", ":2:18: "), ("audio: {gain: loud}", ":2:15: "), ("audio: {channels: [0]}", ":2:20: "),
    ("audio: {devise: x}", ":2:9: "), ("audio: 3", ":2:8: "), ("audio: {ltc: 1.5}", ":2:14: ")])
def test_mistakes_have_their_place(tmp_path: Path, text: str, place: str) -> None:
    assert place in mistakes(tmp_path, text)


def test_a_wave_of_audio_has_its_band_and_needs_the_key(tmp_path: Path) -> None:
    modulation = "modulation: [{name: bass, to: strength, wave: audio, band: low}]"
    (bass,) = read(tmp_path, f"audio: {{}}\n{modulation}").modulators
    assert (bass.wave, bass.band) == ("audio", "low")
    assert ":2:47: the wave audio needs the key audio" in mistakes(tmp_path, modulation)
    (bass,) = read(tmp_path, f"audio: false\n{modulation}").modulators
    assert bass.wave == "audio", "switched off on purpose, as by `--set audio=false`"
    assert "the wave audio" not in mistakes(tmp_path, f"audio: {{devise: x}}\n{modulation}"), "one mistake is enough"
    assert "lowest" in mistakes(tmp_path, f"audio: {{}}\n{modulation.replace('low', 'lowest')}")


def test_a_recording_with_sound_needs_the_key(tmp_path: Path) -> None:
    sinks = "sinks: [{transport: record, sound: true}]"
    assert read(tmp_path, f"audio: {{}}\n{sinks}").sinks[0].options["sound"]
    assert "a recording with sound needs the key audio" in mistakes(tmp_path, sinks)


@pytest.mark.parametrize("other", ["tempo: {source: link}", "midi: {clock: true}"])
def test_two_cannot_set_the_tempo(tmp_path: Path, other: str) -> None:
    assert "cannot both set the tempo" in mistakes(tmp_path, f"audio: {{tempo: true}}\n{other}")
    read(tmp_path, f"audio: {{}}\n{other}")


def test_a_copy_of_a_show_with_audio_can_be_read(tmp_path: Path) -> None:
    """`doctor SHOW` and `soak` play one, without the device."""
    show = read(tmp_path, "audio: {}\nmodulation: [{name: bass, to: strength, wave: audio}]\n"
                          "sinks: [{transport: record, sound: true}]")
    copy = load_show(tmp_path / "show.yaml", copy_overrides(show, "bus", 8100), environment={})
    assert copy.controllers["audio"] is None
