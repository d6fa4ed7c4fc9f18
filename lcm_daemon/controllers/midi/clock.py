"""MIDI clock: 24 ticks a beat, start, stop, continue and song position, made into a `Tempo`.

Ticks come late now and then: over USB by a millisecond or two, through a busy computer by more. So the tempo is the
median of the last spans of a beat, and the beat stands where the median of the last ticks puts it.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from typing import TYPE_CHECKING

from lcm_daemon.core.tempo import MAX_BPM, MIN_BPM, Tempo

if TYPE_CHECKING:
    from mido import Message

SPOKEN = frozenset({"clock", "start", "continue", "stop", "songpos"})  # what a clock says, by mido's names

TICKS = 24  # a beat
WINDOW = 2 * TICKS + 1  # ticks that the tempo is taken from
LAST = TICKS  # ticks that the beat's place is taken from
GAP = 1.0  # seconds without a tick after which the clock has begun anew; 2.5 beats a minute is slower than any


class Clock:
    """Follows one MIDI clock. One that has never said start or stop counts beats from its first tick.

    before: where the music was by an earlier desk's clock, from which this one counts on.
    """

    def __init__(self, before: Tempo | None = None) -> None:
        self.tempo = before or Tempo()
        self._before = before  # until the first message
        self._times: deque[float] = deque(maxlen=WINDOW)
        self._ticks = 0  # since the start; the first tick after it is beat 0
        self._running = self.tempo.running
        self._bpm = self.tempo.bpm

    def take(self, message: Message, time: float) -> bool:
        """Take in a message that came at `time` (perf_counter); whether it is news: a start, a stop, a whole beat."""
        if message.type not in SPOKEN:
            return False
        if self._before is not None:
            self._ticks, self._before = round(self._before.beat_at(time) * TICKS), None
        if message.type == "clock":
            return self._tick(time)
        if message.type == "songpos":
            self._ticks = 6 * message.pos  # it counts sixteenths
        else:
            self._ticks = 0 if message.type == "start" else self._ticks
            self._running = message.type != "stop"
        self._settle(self._ticks, time)
        return True

    def _tick(self, time: float) -> bool:
        if self._times and time - self._times[-1] > GAP:
            self._times.clear()
        self._times.append(time)
        at = self._ticks
        self._ticks += self._running
        self._measure()
        self._settle(at, self._place())
        return self._running and at % TICKS == 0

    def _measure(self) -> None:
        """The median of beat-long spans: a tick that comes late moves one span, and not the tempo."""
        times = list(self._times)
        spans = [(b - a) * TICKS for a, b in itertools.pairwise(times)]
        if len(times) > TICKS:
            spans = [b - a for a, b in zip(times, times[TICKS:], strict=False)]
        if len(spans) >= 6:
            bpm = 60.0 / max(statistics.median(spans), 1e-6)
            self._bpm = bpm if MIN_BPM <= bpm <= MAX_BPM else self._bpm

    def _place(self) -> float:
        """When the last tick should have come, by the last ones together."""
        last, step = list(self._times)[-LAST:], 60.0 / self._bpm / TICKS
        if len(last) < LAST:
            return last[-1]
        return statistics.median(time + back * step for back, time in enumerate(reversed(last)))

    def _settle(self, ticks: int, time: float) -> None:
        self.tempo = Tempo(self._bpm, ticks / TICKS, time, self._running)
