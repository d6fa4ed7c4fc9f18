"""Tempo: the musical time, from taps, a number, or an external clock."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from dataclasses import dataclass, replace

BEATS = 4  # per bar
MIN_BPM, MAX_BPM = 20.0, 400.0  # beats per minute
TAPS = 8  # newest taps that the tempo is computed from
MAX_TAP_GAP = 60.0 / MIN_BPM  # seconds without a tap after which the next one starts a new series


@dataclass(frozen=True)
class Tempo:
    """A musical time that is at `beat` at `time` and advances at `bpm`.

    Attributes:
        bpm: Beats per minute.
        beat: Quarter notes since the start.
        time: Seconds of perf_counter.
        running: If False, the time stays at `beat`.
    """

    bpm: float = 120.0
    beat: float = 0.0
    time: float = 0.0
    running: bool = True

    def beat_at(self, now: float) -> float:
        """Quarter notes since the start."""
        return self.beat + (now - self.time) * self.bpm / 60.0 * self.running

    def at(self, bpm: float, now: float) -> Tempo:
        """The same beat at another speed, starting at `now`. A stopped tempo runs again."""
        return Tempo(min(max(bpm, MIN_BPM), MAX_BPM), self.beat_at(now), now)

    def next(self, beats: float, now: float) -> float:
        """The next beat that is a multiple of `beats`; the current one if it is just due."""
        return math.ceil(self.beat_at(now) / beats - 1e-6) * beats


@dataclass(frozen=True)
class ExternalTempo:
    """The last report of an external clock. origin: its name, as in Change.origin ("midi/clock", "link")."""

    tempo: Tempo
    origin: str


class Tap:
    """Follows a performer's taps: each tap is a beat, the median gap is the tempo."""

    def __init__(self) -> None:
        self._taps: deque[float] = deque(maxlen=TAPS)

    def tap(self, tempo: Tempo, now: float) -> Tempo:
        """The tempo after a tap at `now`. The first tap of a series only moves the beat."""
        if self._taps and now - self._taps[-1] > MAX_TAP_GAP:
            self._taps.clear()
        self._taps.append(now)
        taps = list(self._taps)
        gaps = [b - a for a, b in itertools.pairwise(taps) if b > a]
        tempo = tempo.at(60.0 / statistics.median(gaps) if gaps else tempo.bpm, now)
        return replace(tempo, beat=float(round(tempo.beat)))
