"""LTC, linear timecode: finds the frames of SMPTE ST 12-1 in an audio signal at playing speed.

A frame has 80 bits in biphase mark code: the level changes at the start of each bit, and in the middle of a 1. The last
16 bits are a word that occurs nowhere else. Neither the polarity nor the level matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport

BITS = 80  # of one frame
SYNC_WORD = 0b1011_1111_1111_1100  # bits 64 to 79, the first one lowest
DROP_BIT = 10
RATES = (24, 25, 30)  # frames a second
HALF_OR_WHOLE = 1 / 3000.0  # seconds; half a bit lasts 1/4800 to 1/3836, a whole one 1/2400 to 1/1918
SHORTEST, LONGEST = 1 / 9000.0, 1 / 1500.0  # seconds between two changes of level; others are noise or silence
THRESHOLD = 0.3  # of the amplitude, that the level has to pass in each direction
LEAST = 0.003  # amplitude (-50 dB), below which is silence
DECAY = 0.8  # of the amplitude that is remembered, from one block to the next
ORIGIN = "audio"

_FIELDS = (  # bits of hours, minutes, seconds, frames: first bit and count, of the units and of the tens
    ((48, 4), (56, 2)), ((32, 4), (40, 3)), ((16, 4), (24, 3)), ((0, 4), (8, 2)),
)


class LtcDecoder:
    """Decodes a signal block by block.

    Args:
        rate: Samples a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._ends: tuple[float, float] | None = None  # the lowest and the highest level of the signal
        self._is_high = False
        self._samples = 0  # so far
        self._changed_at = 0  # sample at which the level has changed last
        self._has_half = False  # whether the first half of a 1 has been read
        self._register = 0  # the last 80 bits, the oldest one lowest
        self._bits = 0  # since the last sync word
        self._frame_end: int | None = None  # sample at which the frame before has ended

    def feed(self, samples: NDArray[np.float32], time: float) -> list[TimecodeReport]:
        """Decode the next block.

        Args:
            samples: float32 (n,), -1 to 1, of one channel.
            time: When the last of them was captured, in seconds of perf_counter.

        Returns:
            A report for each frame that has ended in the block.
        """
        reports = []
        end = self._samples + len(samples)
        for change in self._level_changes(samples):
            read = self._on_change(change)
            if read is not None:
                timecode, rate = read
                at = time - (end - 1 - change) / self._rate
                reports.append(TimecodeReport((rate.index(timecode) + 1.0) % rate.day, at, rate, ORIGIN))
        self._samples = end
        return reports

    def _level_changes(self, samples: NDArray[np.float32]) -> list[int]:
        """The samples, counted from the first block on, at which the level has changed."""
        if not len(samples) or not np.isfinite(samples).all():
            return []
        middle, amplitude = self._measure(float(samples.min()), float(samples.max()))
        if amplitude < LEAST:
            return []
        passed = np.flatnonzero(np.abs(samples - middle) > THRESHOLD * amplitude)
        if not len(passed):
            return []
        highs = samples[passed] > middle
        is_change = np.diff(highs, prepend=self._is_high)
        self._is_high = bool(highs[-1])
        return [int(place) + self._samples for place in passed[is_change]]

    def _measure(self, low: float, high: float) -> tuple[float, float]:
        """Middle and amplitude of the signal, after a block between these levels."""
        if self._ends is not None:
            before_low, before_high = self._ends
            middle = (before_low + before_high) / 2
            low = min(low, middle + (before_low - middle) * DECAY)
            high = max(high, middle + (before_high - middle) * DECAY)
        self._ends = low, high
        return (low + high) / 2, (high - low) / 2

    def _on_change(self, change: int) -> tuple[Timecode, FrameRate] | None:
        """Take a change of level; returns the frame that ends with it, if one does."""
        seconds, self._changed_at = (change - self._changed_at) / self._rate, change
        if not SHORTEST < seconds < LONGEST:
            self._has_half, self._bits, self._frame_end = False, 0, None
            return None
        if seconds < HALF_OR_WHOLE:
            self._has_half = not self._has_half
            if self._has_half:
                return None
            return self._on_bit(1, change)
        self._has_half = False  # after a half, the count of halves was off by one until here
        return self._on_bit(0, change)

    def _on_bit(self, bit: int, change: int) -> tuple[Timecode, FrameRate] | None:
        self._register = self._register >> 1 | bit << BITS - 1
        self._bits += 1
        if self._register >> BITS - 16 != SYNC_WORD:
            return None
        before, self._frame_end = self._frame_end, change
        is_whole, self._bits = self._bits == BITS, 0
        if before is None or not is_whole:
            return None
        return _read_frame(self._register, self._rate / (change - before))


def _read_frame(register: int, frames_per_second: float) -> tuple[Timecode, FrameRate] | None:
    """Read the bits of a frame; None if they are not a time."""
    numbers = []
    for (low, low_bits), (high, high_bits) in _FIELDS:
        units, tens = (register >> at & (1 << bits) - 1 for at, bits in ((low, low_bits), (high, high_bits)))
        if units > 9:
            return None
        numbers.append(10 * tens + units)
    timecode = Timecode(*numbers)
    nominal = min(RATES, key=lambda rate: abs(rate - frames_per_second))
    drop = bool(register >> DROP_BIT & 1) and nominal == max(RATES)
    if timecode.hours > 23 or timecode.minutes > 59 or timecode.seconds > 59 or timecode.frames >= nominal:
        return None
    return timecode, FrameRate(nominal, drop)
