"""Follows MIDI clock (24 pulses a beat, start, stop, continue, song position) and makes a `Tempo` of it.

Pulses arrive late now and then: over USB by a millisecond or two, on a busy computer by more. Therefore the tempo is
the median of the last intervals of one beat, and the position of the beat is the median over the last pulses.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from typing import TYPE_CHECKING

from lcm_daemon.core.tempo import MAX_BPM, MIN_BPM, Tempo

if TYPE_CHECKING:
    from mido import Message

CLOCK_MESSAGES = frozenset({"clock", "start", "continue", "stop", "songpos"})  # mido's names

PULSES_PER_BEAT = 24
PULSES_PER_SIXTEENTH = PULSES_PER_BEAT // 4
TEMPO_PULSES = 2 * PULSES_PER_BEAT + 1  # pulses that the tempo is measured over
POSITION_PULSES = PULSES_PER_BEAT  # pulses that the position of the beat is measured over
MIN_INTERVALS = 6  # intervals before a tempo is measured
MAX_GAP = 1.0  # seconds without a pulse, after which the clock has restarted; at 2.5 bpm pulses are 1 s apart


class MidiClock:
    """Follows one MIDI clock. A clock that sends neither start nor stop counts beats from its first pulse.

    Args:
        before: Tempo of the same clock in the desk process before a restart; counting continues from it.

    Attributes:
        tempo: The present tempo and position.
    """

    def __init__(self, before: Tempo | None = None) -> None:
        self.tempo = before or Tempo()
        self._before = before  # until the first message
        self._times: deque[float] = deque(maxlen=TEMPO_PULSES)
        self._pulses = 0  # since the start; the first pulse after it is beat 0
        self._running = self.tempo.running
        self._bpm = self.tempo.bpm

    def receive(self, message: Message, time: float) -> bool:
        """Handle a message that arrived at `time` (perf_counter).

        Returns:
            Whether the tempo should be published: at a start, a stop, a song position and each whole beat.
        """
        if message.type not in CLOCK_MESSAGES:
            return False
        if self._before is not None:
            self._pulses, self._before = round(self._before.beat_at(time) * PULSES_PER_BEAT), None
        if message.type == "clock":
            return self._on_pulse(time)
        if message.type == "songpos":
            self._pulses = PULSES_PER_SIXTEENTH * message.pos
        else:
            if message.type == "start":
                self._pulses = 0
            self._running = message.type != "stop"
        self._update_tempo(self._pulses, time)
        return True

    def _on_pulse(self, time: float) -> bool:
        if self._times and time - self._times[-1] > MAX_GAP:
            self._times.clear()
        self._times.append(time)
        position = self._pulses
        if self._running:
            self._pulses += 1
        self._measure_tempo()
        self._update_tempo(position, self._last_pulse_time())
        return self._running and position % PULSES_PER_BEAT == 0

    def _measure_tempo(self) -> None:
        """Take the median of intervals one beat long: a late pulse changes one interval, but not the tempo."""
        times = list(self._times)
        beats = [(b - a) * PULSES_PER_BEAT for a, b in itertools.pairwise(times)]
        if len(times) > PULSES_PER_BEAT:
            beats = [b - a for a, b in zip(times, times[PULSES_PER_BEAT:], strict=False)]
        if len(beats) >= MIN_INTERVALS:
            bpm = 60.0 / max(statistics.median(beats), 1e-6)
            if MIN_BPM <= bpm <= MAX_BPM:
                self._bpm = bpm

    def _last_pulse_time(self) -> float:
        """When the last pulse should have arrived, as the median over the last pulses."""
        last, interval = list(self._times)[-POSITION_PULSES:], 60.0 / self._bpm / PULSES_PER_BEAT
        if len(last) < POSITION_PULSES:
            return last[-1]
        return statistics.median(time + back * interval for back, time in enumerate(reversed(last)))

    def _update_tempo(self, pulses: int, time: float) -> None:
        self.tempo = Tempo(self._bpm, pulses / PULSES_PER_BEAT, time, self._running)
