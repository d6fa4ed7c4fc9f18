"""Loudness, bands and onsets: the right band moves, at once, at any loudness; silence is 0."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lcm_daemon.controllers.audio.analysis import Analyser, hop_of, mean_of
from lcm_daemon.core.audio_names import BANDS
from tests.rigs.sounds import RATE, drums, silence, tone


def heard(sound: np.ndarray, rate: int = RATE, **options: float) -> list[dict[str, float]]:
    """The levels after each hop."""
    analyser, found = Analyser(rate, **options), []
    for start in range(0, len(sound) - analyser.hop + 1, analyser.hop):
        analyser.feed(sound[start:start + analyser.hop])
        found.append(dict(zip(BANDS, analyser.levels, strict=True)))
    return found


@pytest.mark.parametrize(("rate", "hop"), [(8000, 32), (44_100, 256), (48_000, 256), (96_000, 512), (192_000, 1024)])
def test_a_hop_takes_about_as_long_at_every_rate(rate: int, hop: int) -> None:
    assert hop_of(rate) == hop


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize(("hertz", "band"), [(60, "low"), (1000, "mid"), (8000, "high")])
def test_a_tone_is_in_its_band_alone(hertz: float, band: str, rate: int) -> None:
    last = heard(tone(hertz, 0.3, rate=rate), rate, gain=0.0)[-1]
    assert last[band] == pytest.approx(0.5, abs=0.03), "as loud as its peak"
    assert last["level"] == pytest.approx(0.5, abs=0.03)
    assert all(last[other] < 0.05 for other in {"low", "mid", "high"} - {band})


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 32_000])
def test_devices_that_hear_no_high_tones(rate: int) -> None:
    last = heard(tone(60, 0.3, rate=rate), rate, gain=0.0)[-1]
    assert last["low"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("peak", [1.0, 0.1, 0.03])
def test_the_gain_follows_the_loudness(peak: float) -> None:
    assert heard(tone(60, 0.5, peak))[-1]["low"] == pytest.approx(1.0, abs=0.05)


def test_after_a_loud_part_a_quiet_one_comes_back_slowly() -> None:
    levels = heard(np.concatenate((tone(60, 0.5, 0.8), tone(60, 12.0, 0.2))))
    assert levels[120]["low"] < 0.3
    assert levels[-1]["low"] == pytest.approx(0.5, abs=0.06), "12 s later, half as loud counts as full"


def test_silence_and_faint_noise_are_nothing() -> None:
    assert set(heard(silence(0.5))[-1].values()) == {0.0}
    noise = np.random.default_rng(2).normal(0.0, 10 ** (-70 / 20), RATE).astype(np.float32)
    assert all(levels[band] == 0.0 for levels in heard(noise) for band in ("low", "level", "onset"))


def test_a_band_moves_within_15_ms_of_the_sound() -> None:
    quiet = round(0.5 * RATE)
    levels = heard(np.concatenate((silence(0.5), tone(60, 0.5))))
    first = next(place for place, each in enumerate(levels) if each["low"] > 0.2)
    assert (first + 1) * 256 - quiet < 0.015 * RATE


def test_each_beat_is_one_onset_and_a_held_tone_is_one() -> None:
    levels = heard(drums(120.0, 6.0, start=0.5))
    onsets = [place for place, (one, two) in enumerate(itertools.pairwise(levels))
              if two["onset"] == 1.0 > one["onset"]]
    times = np.array(onsets) * 256 / RATE
    beats = 0.5 + np.arange(11) * 0.5
    assert all(np.min(np.abs(times - beat)) < 0.02 for beat in beats), times
    held = heard(np.concatenate((silence(0.3), tone(440, 2.0))))
    assert sum(two["onset"] == 1.0 > one["onset"] for one, two in itertools.pairwise(held)) == 1


def test_several_channels_are_one_sound() -> None:
    samples = np.array([[0.2, 0.6, 9.0]], np.float32)
    assert mean_of(samples, [0, 1])[0] == pytest.approx(0.4)
    assert mean_of(samples, [1])[0] == pytest.approx(0.6)
