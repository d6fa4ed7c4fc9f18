"""Sends MIDI clock: 24 pulses a beat, start, stop, continue and song position, at the tempo of the show.

The receiver is started on a bar, so that its bars are the show's. Where the position moves by half a beat at most, as a
tap moves it, the pulses come faster or later until they agree. After a larger jump, the receiver is stopped and started
again on the next bar.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from lcm_daemon.controllers.midi.clock import PULSES_PER_BEAT, PULSES_PER_SIXTEENTH
from lcm_daemon.core.tempo import BEATS, Tempo

CLOCK, START, CONTINUE, STOP = b"\xf8", b"\xfa", b"\xfb", b"\xfc"
SONG_POSITIONS = 16384  # sixteenths that a song position counts to
MAX_LAG = PULSES_PER_BEAT // 2  # pulses that are caught up with; more is a jump
MAX_LATE_START = 3  # pulses after the first beat of a bar, up to which a receiver is still started on that beat
IDLE = 0.1  # seconds between two looks at a tempo that does not run
PULSES_PER_BAR = BEATS * PULSES_PER_BEAT

_Output = tuple[object, Callable[[bytes], None]]  # an output, and its `send`, which may raise OSError


class ClockGenerator:
    """What one receiver is sent, pulse by pulse."""

    def __init__(self) -> None:
        self._next: int | None = None  # number of the next pulse, counted from beat 0
        self._sent_at = -math.inf
        self._is_playing = False  # whether the receiver has been started
        self._was_stopped = False  # whether it waits for `continue`

    def step(self, tempo: Tempo, now: float) -> tuple[list[bytes], float]:
        """Return the messages that are due at `now` (perf_counter), and when to call again at the latest."""
        if not tempo.running:
            return self._stop(), now + IDLE
        interval = 60.0 / tempo.bpm / PULSES_PER_BEAT
        place = tempo.beat_at(now) * PULSES_PER_BEAT
        messages = []
        if self._next is not None and abs(self._next - place) > MAX_LAG:
            messages, self._was_stopped = self._stop(), False
        if self._next is None:
            self._next = math.ceil(place - 0.5)
            if place % PULSES_PER_BAR <= MAX_LATE_START:
                self._next = math.floor(place / PULSES_PER_BAR) * PULSES_PER_BAR
        due = max(now + (self._next - place) * interval, self._sent_at + interval / 2)
        if now < due - 1e-6:
            return messages, due
        messages += [*self._begin(self._next), CLOCK]
        self._next, self._sent_at = self._next + 1, now
        return messages, max(now + (self._next - place) * interval, now + interval / 2)

    def _begin(self, pulse: int) -> list[bytes]:
        """Start the receiver if this pulse begins a bar; after a stop, let it continue on the next sixteenth."""
        if self._is_playing:
            return []
        if self._was_stopped and pulse > 0 and pulse % PULSES_PER_SIXTEENTH == 0:
            sixteenth = pulse // PULSES_PER_SIXTEENTH % SONG_POSITIONS
            self._is_playing, self._was_stopped = True, False
            return [bytes((0xF2, sixteenth & 127, sixteenth >> 7)), CONTINUE]
        if pulse % PULSES_PER_BAR == 0:
            self._is_playing, self._was_stopped = True, False
            return [START]
        return []

    def _stop(self) -> list[bytes]:
        """Stop the receiver, if it plays."""
        self._next = None
        if not self._is_playing:
            return []
        self._is_playing, self._was_stopped = False, True
        return [STOP]

    def end(self) -> list[bytes]:
        """Return the last messages."""
        return self._stop()


class ClockSender:
    """The thread that sends the clock. A receiver that is connected later is started on the next bar.

    Args:
        outputs: Returns the outputs that receive the clock.
        tempo: Returns the tempo of the show.
    """

    def __init__(self, outputs: Callable[[], Iterable[_Output]], tempo: Callable[[], Tempo]) -> None:
        self._outputs, self._tempo = outputs, tempo
        self._generators: dict[object, ClockGenerator] = {}
        self._stopping = False
        self._wake_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="midi-clock", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the tempo at once: it has changed."""
        self._wake_up.set()

    def stop(self, timeout: float = 1.0) -> None:
        """Stop the receivers, and end the thread within `timeout` seconds."""
        self._stopping = True
        self._wake_up.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            due = self._step(time.perf_counter())
            self._wake_up.wait(max(0.0, due - time.perf_counter()))
            self._wake_up.clear()
        for output, send in self._outputs():
            if output in self._generators:
                _send(send, self._generators[output].end())

    def _step(self, now: float) -> float:
        outputs, tempo, due = list(self._outputs()), self._tempo(), now + IDLE
        here = {output for output, _ in outputs}
        self._generators = {output: one for output, one in self._generators.items() if output in here}
        for output, send in outputs:
            generator = self._generators.setdefault(output, ClockGenerator())
            messages, again = generator.step(tempo, now)
            due = min(due, again)
            _send(send, messages)
        return due


def _send(send: Callable[[bytes], None], messages: Sequence[bytes]) -> None:
    for message in messages:
        try:
            send(message)
        except OSError:  # unplugged: the next scan of the ports finds that and says so
            return
