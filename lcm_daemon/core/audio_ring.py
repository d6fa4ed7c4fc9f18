"""AudioRing: the last seconds of the audio input and what is measured in them, in shared memory.

The audio process writes; the stage, its recordings and the desk read. None of them waits for another: a reader that
finds a block half written tries again, and one that is too slow misses samples.

    words    sequence, samples written, generation, rate, beats; see the constants below
    numbers  time of the newest sample, levels, tempo
    samples  float32 (FRAMES, COLUMNS): left, right, timecode
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.audio_names import BANDS, SILENCE
from lcm_daemon.core.tempo import Tempo

FRAMES = 1 << 17  # samples a column: 2.7 s at 48 kHz
LEFT, RIGHT, TIMECODE = range(3)
COLUMNS = 3
STALE_SECONDS = 0.5  # after the newest sample, the levels count as silence
_SEQUENCE, _WRITTEN, _GENERATION, _RATE, _SIGN_OF_LIFE, _TEMPO_NUMBER = range(6)  # words
_TIME, _LEVELS, _TEMPO = 0, 1, 1 + len(BANDS)  # numbers
_WORDS, _NUMBERS = 8, 16
_START = 8 * (_WORDS + _NUMBERS)
SIZE = _START + FRAMES * COLUMNS * 4  # bytes
_TRIES = 8  # of a reader whose block is written at the same time

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """Samples that follow each other without a gap.

    Attributes:
        samples: float32 (n, COLUMNS), -1 to 1.
        rate: Samples a second.
        end: When the last one was captured, in seconds of perf_counter.
        gap: Whether samples before these are missing, or come from another device.
    """

    samples: Samples
    rate: int
    end: float
    gap: bool

    @property
    def start(self) -> float:
        """When the first sample was captured, in seconds of perf_counter."""
        return self.end - len(self.samples) / self.rate


def attach(name: str) -> SharedMemory:
    """Open a block that another process owns. Raises OSError."""
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    return SharedMemory(name)  # the tracker is shared with the owner, who removes the block


class AudioRing:
    """One block. It is silent until something is written. memory: Of SIZE bytes."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory: SharedMemory | None = memory
        self._words: NDArray[np.int64] = np.ndarray((_WORDS,), np.int64, memory.buf)
        self._numbers: NDArray[np.float64] = np.ndarray((_NUMBERS,), np.float64, memory.buf, 8 * _WORDS)
        self._samples: Samples = np.ndarray((FRAMES, COLUMNS), np.float32, memory.buf, _START)

    @property
    def name(self) -> str:
        """Name of the block."""
        return self._memory.name if self._memory is not None else ""

    def close(self) -> None:
        """Unmap the block. This object is silent after that."""
        memory, self._memory = self._memory, None
        self._words, self._numbers = np.zeros(_WORDS, np.int64), np.zeros(_NUMBERS)
        self._samples = np.zeros((0, COLUMNS), np.float32)
        if memory is not None:
            with contextlib.suppress(BufferError):  # a thread reads it at this moment: the mapping ends later
                memory.close()

    # --- what the audio process calls ---

    def begin(self, rate: int) -> None:
        """Another device begins. rate: Samples a second."""
        self._words[_SEQUENCE] += 1
        self._words[_GENERATION] += 1
        self._words[_RATE], self._words[_WRITTEN] = rate, 0
        self._words[_SEQUENCE] += 1

    def write(self, samples: Samples, end: float) -> None:
        """Add samples.

        Args:
            samples: float32 (n, COLUMNS), n at most FRAMES / 4.
            end: When the last one was captured, in seconds of perf_counter.
        """
        written, count = int(self._words[_WRITTEN]), len(samples)
        at, first = written % FRAMES, min(count, FRAMES - written % FRAMES)
        self._samples[at:at + first], self._samples[:count - first] = samples[:first], samples[first:]
        self._words[_SEQUENCE] += 1
        self._words[_WRITTEN], self._numbers[_TIME] = written + count, end
        self._words[_SEQUENCE] += 1

    def write_levels(self, levels: Sequence[float]) -> None:
        """Replace the levels: 0 to 1, in the order of BANDS."""
        self._numbers[_LEVELS:_LEVELS + len(BANDS)] = levels

    def write_tempo(self, tempo: Tempo) -> None:
        """Replace the tempo that is heard."""
        self._words[_SEQUENCE] += 1
        self._numbers[_TEMPO:_TEMPO + 3] = tempo.bpm, tempo.beat, tempo.time
        self._words[_TEMPO_NUMBER] += 1
        self._words[_SEQUENCE] += 1

    def live(self) -> None:
        """Give a sign of life: the process does not hang."""
        self._words[_SIGN_OF_LIFE] += 1

    # --- what the others call ---

    @property
    def signs_of_life(self) -> int:
        """How many there were."""
        return int(self._words[_SIGN_OF_LIFE])

    def levels(self, now: float) -> Mapping[str, float]:
        """Level by band, 0 to 1; silence where no samples arrive. now: Seconds of perf_counter."""
        if not now - self._numbers[_TIME] <= STALE_SECONDS:
            return SILENCE
        return dict(zip(BANDS, self._numbers[_LEVELS:_LEVELS + len(BANDS)].tolist(), strict=True))

    def tempo(self) -> tuple[int, Tempo]:
        """The tempo that is heard, and its number, which is another one for each tempo; 0 before the first."""
        for _ in range(_TRIES):
            sequence = int(self._words[_SEQUENCE])
            number, found = int(self._words[_TEMPO_NUMBER]), self._numbers[_TEMPO:_TEMPO + 3].tolist()
            if self._is_whole(sequence):
                return number, Tempo(*found) if number else Tempo()
        return 0, Tempo()

    def place(self) -> tuple[int, int, int, float]:
        """Generation, rate, samples written and time of the newest one; all 0 while nothing can be read."""
        for _ in range(_TRIES):
            sequence = int(self._words[_SEQUENCE])
            found = (int(self._words[_GENERATION]), int(self._words[_RATE]), int(self._words[_WRITTEN]),
                     float(self._numbers[_TIME]))
            if self._is_whole(sequence):
                return found
        return 0, 0, 0, 0.0

    def copy(self, first: int, last: int) -> Samples:
        """The samples with these numbers; `last` is not one of them, and all are among the newest FRAMES."""
        if not len(self._samples):
            return self._samples
        at, count = first % FRAMES, last - first
        return np.concatenate((self._samples[at:at + count], self._samples[:max(0, at + count - FRAMES)]))

    def _is_whole(self, sequence: int) -> bool:
        return sequence % 2 == 0 and int(self._words[_SEQUENCE]) == sequence


class RingReader:
    """Reads the samples of a ring one after another, from the moment at which it is made."""

    def __init__(self, ring: AudioRing) -> None:
        self._ring = ring
        self._generation, _, self._next, _ = ring.place()
        self._gap = False  # another device has begun, and nothing of it was read yet

    def read(self) -> Sound | None:
        """All samples since the last call; None if there are none. Older ones than half of the ring are dropped."""
        generation, rate, written, time = self._ring.place()
        if not rate or (generation == self._generation and written <= self._next):
            return None
        is_other = generation != self._generation
        first, oldest = 0 if is_other else self._next, max(0, written - FRAMES // 2)
        gap = is_other or self._gap
        self._generation, self._next, self._gap = generation, written, gap and not written
        if not written:
            return None
        return Sound(self._ring.copy(max(first, oldest), written), rate, time, gap or first < oldest)
