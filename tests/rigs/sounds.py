"""Sounds for tests: tones, drums, and WAV files of them."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
Mono = NDArray[np.float32]


def tone(hertz: float, seconds: float, peak: float = 0.5, rate: int = RATE) -> Mono:
    """A sine."""
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> Mono:
    return np.zeros(round(seconds * rate), np.float32)


def drums(bpm: float, seconds: float, rate: int = RATE, start: float = 0.0) -> Mono:
    """A bass drum on each beat, a quieter hi-hat between two, and some noise. start: Seconds of the first beat."""
    random = np.random.default_rng(1)
    sound = random.normal(0.0, 0.002, round(seconds * rate))
    kick = tone(60.0, 0.12, 0.8, rate) * np.exp(-np.arange(round(0.12 * rate)) / (0.03 * rate))
    hat = random.normal(0.0, 0.1, round(0.03 * rate)) * np.exp(-np.arange(round(0.03 * rate)) / (0.008 * rate))
    for number in range(int((seconds - start) * bpm / 60.0) + 1):
        for hit, beat in ((kick, number), (hat, number + 0.5)):
            at = round((start + beat * 60.0 / bpm) * rate)
            if at + len(hit) <= len(sound):
                sound[at:at + len(hit)] += hit
    return sound.astype(np.float32)


def write_wav(path: Path, sound: Mono, rate: int = RATE) -> Path:
    """Write 16 bits, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes())
    return path
