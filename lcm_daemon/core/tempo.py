"""Tempo: where the music is, from taps, a number, or a clock that somebody sends."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from dataclasses import dataclass, replace

BEATS = 4  # in a bar
MIN_BPM, MAX_BPM = 20.0, 400.0  # beats a minute
TAPS = 8  # that the tempo is taken from
PAUSE = 60.0 / MIN_BPM  # seconds without a tap, after which the next one begins anew


@dataclass(frozen=True)
class Tempo:
    """`beat` at `time` (seconds of perf_counter), and on from there at `bpm`; it stands there while not `running`."""

    bpm: float = 120.0
    beat: float = 0.0
    time: float = 0.0
    running: bool = True

    def beat_at(self, now: float) -> float:
        """Quarter notes since the start."""
        return self.beat + (now - self.time) * self.bpm / 60.0 * self.running

    def at(self, bpm: float, now: float) -> Tempo:
        """The same beat, and another speed from now on; one that stood runs again."""
        return Tempo(min(max(bpm, MIN_BPM), MAX_BPM), self.beat_at(now), now)

    def next(self, beats: float, now: float) -> float:
        """The beat that is the next multiple of `beats`; the present one, if it is just due."""
        return math.ceil(self.beat_at(now) / beats - 1e-6) * beats


@dataclass(frozen=True)
class ExternalTempo:
    """What an outside clock said last. origin: whose it is, as in Change.origin ("midi/clock", "link")."""

    tempo: Tempo
    origin: str


class Tap:
    """Follows somebody who taps along: each tap is a beat, the median of the gaps is the tempo."""

    def __init__(self) -> None:
        self._taps: deque[float] = deque(maxlen=TAPS)

    def tap(self, tempo: Tempo, now: float) -> Tempo:
        """The tempo after a tap at `now`. The first of a row only puts the beat where the hand is."""
        if self._taps and now - self._taps[-1] > PAUSE:
            self._taps.clear()
        self._taps.append(now)
        taps = list(self._taps)
        gaps = [b - a for a, b in itertools.pairwise(taps) if b > a]
        tempo = tempo.at(60.0 / statistics.median(gaps) if gaps else tempo.bpm, now)
        return replace(tempo, beat=float(round(tempo.beat)))
