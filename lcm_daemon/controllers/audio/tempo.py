"""TempoTracker: the tempo of music and where its beats are, from how much its spectrum rises.

Autocorrelation of the rises finds the period, with a preference for tempos about 120 (Ellis, "Beat Tracking by Dynamic
Programming", 2007); a comb of that period finds the beats.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.tempo import Tempo

SECONDS = 8.0  # of music that a tempo is measured in
FEWEST_SECONDS = 4.0  # before the first tempo
INTERVAL = 0.5  # seconds between two tempos
SLOWEST, FASTEST = 65.0, 190.0  # bpm
USUAL, OCTAVES = 120.0, 1.0  # bpm, and the spread of the preference
STEP, FINE_STEP = 0.5, 0.02  # bpm: of the first search, and of the one around its result
BEATS, MANY_BEATS = 4, 8  # periods that have to fit, in the first search and in the second
TWICE = 0.9  # share of a tempo's correlation that the double tempo has where it is the right one
CLEAR = 0.12  # correlation of a tempo that counts
BEAT_RISE = 3.5  # times the mean rise, which one hop a second has to reach: those of hum and held tones are all alike
JUMP = 0.04  # share by which a tempo may differ from the last one without being heard twice
CORRECTION = 0.3  # share of a beat's error that is corrected each time
JUMP_BEATS = 0.2  # a larger error is corrected at once


class TempoTracker:
    """Follows a tempo. rate: Hops a second.

    Attributes:
        tempo: The tempo; None until one was heard.
    """

    def __init__(self, rate: float) -> None:
        self.tempo: Tempo | None = None
        self._rate = rate
        self._rises: deque[float] = deque(maxlen=round(SECONDS * rate))
        self._due = round(FEWEST_SECONDS * rate)  # hops until the next measurement
        self._candidate = 0.0  # bpm that was heard once

    def feed(self, rise: float, time: float) -> bool:
        """Add a hop; return whether `tempo` is a new one.

        Args:
            rise: `Analyser.flux`.
            time: When the hop was captured, in seconds of perf_counter.
        """
        self._rises.append(rise)
        self._due -= 1
        if self._due > 0:
            return False
        self._due = round(INTERVAL * self._rate)
        return self._measure(np.array(self._rises), time)

    def _measure(self, rises: NDArray[np.float64], time: float) -> bool:
        if not has_beats(rises, self._rate):
            return False
        rises = rises - rises.mean()
        bpm, clarity = find_tempo(rises, self._rate)
        if clarity < CLEAR or not self._is_expected(bpm):
            return False
        self._follow(bpm, time - find_beat(rises, 60.0 / bpm * self._rate) / self._rate, time)
        return True

    def _is_expected(self, bpm: float) -> bool:
        """Whether a tempo is near the present one, or was heard twice."""
        if self.tempo is not None and abs(bpm / self.tempo.bpm - 1.0) < JUMP:
            self._candidate = 0.0
            return True
        is_confirmed = bool(self._candidate) and abs(bpm / self._candidate - 1.0) < JUMP
        self._candidate = bpm
        return is_confirmed

    def _follow(self, bpm: float, beat_at: float, now: float) -> None:
        """Continue the beat that was counted so far. beat_at: Time of a beat."""
        if self.tempo is None:
            self.tempo = Tempo(bpm, (now - beat_at) * bpm / 60.0, now)
            return
        counted = self.tempo.beat_at(now)
        error = (now - beat_at) * bpm / 60.0 - counted
        error -= round(error)
        share = 1.0 if abs(error) > JUMP_BEATS else CORRECTION
        self.tempo = Tempo(bpm, counted + error * share, now)


def has_beats(rises: NDArray[np.float64], rate: float) -> bool:
    """Whether some rises stand out: a steady tone repeats exactly as well. rises: `rate` of them a second."""
    count = max(1, int(len(rises) / rate))
    return bool(np.partition(rises, -count)[-count] > BEAT_RISE * rises.mean())


def find_tempo(rises: NDArray[np.float64], rate: float) -> tuple[float, float]:
    """The tempo in bpm, and how clear it is, from 0 to 1. rises: Without their mean, `rate` of them a second."""
    size = len(rises)
    spectrum = np.fft.rfft(rises, 1 << (2 * size - 1).bit_length())
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:size]
    correlation = correlation / correlation[0] / (1.0 - np.arange(size) / size)
    rough = np.arange(SLOWEST, FASTEST + STEP, STEP)
    fits = _fits(correlation, rough, rate, BEATS)
    weights = np.exp(-0.5 * (np.log2(rough / USUAL) / OCTAVES) ** 2)
    place = int(np.argmax(fits * weights))
    found = rough[place]
    if 2.0 * found <= FASTEST and _fits(correlation, 2.0 * rough[[place]], rate, BEATS)[0] >= TWICE * fits[place]:
        found *= 2.0  # every half of the beat is as strong as the beat
    fine = np.arange(found - STEP, found + STEP, FINE_STEP)
    return float(fine[np.argmax(_fits(correlation, fine, rate, MANY_BEATS))]), float(fits[place])


def _fits(
    correlation: NDArray[np.float64], tempos: NDArray[np.float64], rate: float, beats: int
) -> NDArray[np.float64]:
    """Mean correlation at the first multiples of each tempo's period."""
    periods = 60.0 / tempos * rate
    lags = np.arange(1, beats + 1)[:, None] * periods[None, :]
    reliable = lags < len(correlation) * 0.75  # of longer lags, too little music is left to compare
    found = np.where(reliable, np.interp(lags, np.arange(len(correlation)), correlation), 0.0)
    fits: NDArray[np.float64] = found.sum(axis=0) / reliable.sum(axis=0)
    return fits


def find_beat(rises: NDArray[np.float64], period: float) -> float:
    """How many hops ago the last beat was, 0 to `period`. Newer beats count more."""
    size, count = len(rises), int(len(rises) / period)
    ages = np.arange(0.0, period)[:, None] + np.arange(count)[None, :] * period
    weights = 0.9 ** np.arange(count)
    rises_at = np.interp(size - 1 - ages, np.arange(size), rises) * weights
    return float(np.argmax(rises_at.sum(axis=1)))
