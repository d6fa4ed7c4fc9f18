"""A stand-in for aalink.Link, with the same names: a session that runs by itself and that a test can change."""

from __future__ import annotations

import time


class Link:
    """`shift`: beats by which other peers have moved the session. `others`: number of other peers."""

    def __init__(self, bpm: float, loop: object = None) -> None:
        self.enabled = self.start_stop_sync_enabled = self.playing = False
        self.quantum, self.others, self.shift = 1.0, 0, 0.0
        self._bpm, self._beat, self._time = bpm, 0.0, time.perf_counter()

    @property
    def beat(self) -> float:
        return self._beat + (time.perf_counter() - self._time) * self._bpm / 60.0 + self.shift

    @property
    def tempo(self) -> float:
        return self._bpm

    @tempo.setter
    def tempo(self, bpm: float) -> None:
        self._beat, self._time, self._bpm = self.beat - self.shift, time.perf_counter(), bpm

    def force_beat(self, beat: float) -> None:
        self._beat, self._time, self.shift = beat, time.perf_counter(), 0.0

    @property
    def num_peers(self) -> int:
        return self.others if self.enabled else 0
