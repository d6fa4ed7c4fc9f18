"""Analyser: loudness, three bands and onsets of a sound, a few milliseconds after they are heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.audio_names import BANDS

HOP_RATE = 187.5  # hops a second at 48 kHz; a hop is the power of two nearest to that
WINDOW_HOPS = 4  # hops of a spectrum: 21 ms, of which bass needs every one
LOW, HIGH = 250.0, 4000.0  # Hz: the crossovers between low, mid and high, as three-band equalisers of mixers have them
LOWEST, HIGHEST = 20.0, 16_000.0  # Hz
FLOOR = 10 ** (-36 / 20)  # RMS of full scale: what is quieter is not raised to the full level by the automatic gain
REFERENCE_SECONDS = 12.0  # in which the loudness that counts as full falls by half
COMPRESSION = 1000.0  # of magnitudes before they are compared: an onset in a quiet passage counts too
ONSET_SECONDS = 0.4  # of hops that an onset has to rise above
ONSET_RATIO, ONSET_RISE = 1.8, 0.15  # how far above their mean: times, and in compressed magnitude
WEIGHTS = (0.5, 0.25, 0.25)  # of low, mid and high: beats are where the bass is
ONSET_PAUSE = 0.09  # seconds between two onsets at least
ONSET_FALL = 0.18  # seconds in which the level of an onset falls to 0

Mono = NDArray[np.float32]


def hop_of(rate: int) -> int:
    """Samples of a hop: 256 at 44.1 and 48 kHz, 512 at 96 kHz."""
    return 1 << max(5, round(float(np.log2(rate / HOP_RATE))))


class Analyser:
    """Measures a sound hop by hop.

    Args:
        rate: Samples a second.
        gain: Decibels that are added to the level; None follows the loudest of the last seconds.
        gate: Decibels of full scale below which a band is silent.

    Attributes:
        levels: 0 to 1, in the order of `BANDS`: low, mid, high, level, onset.
        onsets: How many were heard.
        flux: How much the newest hop rises above the one before, for the tempo.
    """

    def __init__(self, rate: int, gain: float | None = None, gate: float = -60.0) -> None:
        self.hop, self.onsets, self.flux = hop_of(rate), 0, 0.0
        self.levels: Sequence[float] = (0.0,) * len(BANDS)
        self._seconds = self.hop / rate
        size = self.hop * WINDOW_HOPS
        self._window = np.hanning(size).astype(np.float32)
        # A sine of full scale gives a power of 1/2, spread over the bins around it.
        self._scale = 2.0 / float(np.sum(self._window.astype(np.float64) ** 2) * size)
        frequencies = np.fft.rfftfreq(size, 1.0 / rate)
        edges = np.searchsorted(frequencies, (LOWEST, LOW, HIGH, HIGHEST))
        # A headset at 8 or 16 kHz has nothing as high: its last bin is the upper end, and `high` may be silent.
        self._edges = np.clip(edges, 1, len(frequencies) - 1)
        self._sizes = np.maximum(np.diff(self._edges), 1)
        self._recent = np.zeros(size, np.float32)
        self._magnitudes: NDArray[np.floating] = np.zeros(len(frequencies), np.float32)
        self._gain = None if gain is None else 10 ** (gain / 20) * 2 ** 0.5
        self._gate = 10 ** (gate / 20)
        self._references = [FLOOR] * 4
        self._fall = 0.5 ** (self._seconds / REFERENCE_SECONDS)
        self._fluxes: deque[float] = deque(maxlen=max(4, round(ONSET_SECONDS / self._seconds)))
        self._since_onset, self._onset = ONSET_PAUSE, 0.0

    def feed(self, hop: Mono) -> None:
        """Measure the next `hop` samples, float32 (hop,), -1 to 1."""
        size = self.hop
        self._recent[:-size] = self._recent[size:]
        self._recent[-size:] = hop
        spectrum = np.abs(np.fft.rfft(self._recent * self._window))
        powers = np.add.reduceat(spectrum * spectrum, self._edges)[:3] * self._scale
        newest = self._recent[-2 * size:]
        loudness = (*np.sqrt(powers).tolist(), float(np.sqrt(np.dot(newest, newest) / len(newest))))
        self._find_onset(spectrum, loudness[3])
        self.levels = (*(self._level(place, each) for place, each in enumerate(loudness)), self._onset)

    def _level(self, band: int, loudness: float) -> float:
        """A band's RMS as a level from 0 to 1."""
        if self._gain is not None:
            return min(loudness * self._gain, 1.0) if loudness > self._gate else 0.0
        full = self._references[band] = max(loudness, self._references[band] * self._fall, FLOOR)
        return max(0.0, (loudness - self._gate) / (full - self._gate)) if full > self._gate else 0.0

    def _find_onset(self, spectrum: NDArray[np.floating], loudness: float) -> None:
        """Compare the spectrum with the last one: what rises in whole bands at the same time is an onset.

        Spectral flux of compressed magnitudes; see Dixon, "Onset Detection Revisited" (DAFx 2006), and Müller,
        "Fundamentals of Music Processing", 6.1.
        """
        magnitudes = np.log1p(spectrum * (COMPRESSION / len(self._recent)))
        rises = np.maximum(magnitudes - self._magnitudes, 0.0)
        self._magnitudes = magnitudes
        self.flux = float(np.dot(np.add.reduceat(rises, self._edges)[:3] / self._sizes, WEIGHTS))
        usual = sum(self._fluxes) / max(len(self._fluxes), 1)
        self._fluxes.append(self.flux)
        self._since_onset += self._seconds
        self._onset = max(0.0, self._onset - self._seconds / ONSET_FALL)
        is_higher = self.flux > usual * ONSET_RATIO + ONSET_RISE
        if is_higher and loudness > self._gate and self._since_onset >= ONSET_PAUSE:
            self._since_onset, self._onset = 0.0, 1.0
            self.onsets += 1


def mean_of(samples: NDArray[np.float32], channels: Sequence[int]) -> Mono:
    """The mean of some columns, float32 (n,). samples: float32 (n, columns)."""
    if len(channels) == 1:
        return np.ascontiguousarray(samples[:, channels[0]])
    mean: Mono = np.mean(samples[:, list(channels)], axis=1, dtype=np.float32)
    return mean
