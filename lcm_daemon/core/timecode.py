"""Timecode: hours, minutes, seconds and frames of SMPTE ST 12-1, as MTC, LTC and Art-Net carry them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TEXT = re.compile(r"(\d{1,2})[:.](\d{2})[:.](\d{2})[:;.](\d{2})")
_DROPPED = 2  # frame numbers that drop-frame timecode skips at each minute but every tenth


@dataclass(frozen=True, order=True)
class Timecode:
    """A time as it is written: 01:00:10:00. frames: below the frame rate."""

    hours: int
    minutes: int
    seconds: int
    frames: int

    def __str__(self) -> str:
        return f"{self.hours:02}:{self.minutes:02}:{self.seconds:02}:{self.frames:02}"

    @staticmethod
    def parse(text: str) -> Timecode:
        """Parse "01:00:10:00", also with a semicolon or points, as some programs write it.

        Raises:
            ValueError: It is not a timecode. Frames may be up to 29: which rate arrives is not known here.
        """
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r:.80} is not a timecode such as 01:00:10:00")
        parsed = Timecode(*map(int, found.groups()))
        if parsed.hours > 23 or parsed.minutes > 59 or parsed.seconds > 59 or parsed.frames > 29:
            raise ValueError(f"{text!r:.80} is not a timecode: the last is 23:59:59:29")
        return parsed


@dataclass(frozen=True)
class FrameRate:
    """How frames are counted.

    Attributes:
        nominal: Frames that a second of the count has: 24, 25 or 30.
        drop: Whether some frame numbers are skipped, so that the count follows the clock at 29.97 frames a second.
    """

    nominal: int
    drop: bool = False

    @property
    def per_second(self) -> float:
        """Frames in a second of real time."""
        return self.nominal * 1000.0 / 1001.0 if self.drop else float(self.nominal)

    @property
    def day(self) -> int:
        """Frames in 24 hours of the count."""
        return self.index(Timecode(23, 59, 59, self.nominal - 1)) + 1

    def index(self, timecode: Timecode) -> int:
        """Frames from 00:00:00:00. Frames that the rate does not have count as its last one."""
        minutes = timecode.hours * 60 + timecode.minutes
        frames = min(timecode.frames, self.nominal - 1)
        index = (minutes * 60 + timecode.seconds) * self.nominal + frames
        if not self.drop:
            return index
        if timecode.minutes % 10 and not timecode.seconds and frames < _DROPPED:
            index += _DROPPED - frames  # a number that is skipped: the next one
        return index - _DROPPED * (minutes - minutes // 10)

    def timecode(self, index: int) -> Timecode:
        """The timecode of a frame; it begins again after 24 hours."""
        index %= self.day
        if self.drop:
            ten, minute = 600 * self.nominal - 9 * _DROPPED, 60 * self.nominal - _DROPPED
            tens, rest = divmod(index, ten)
            if rest >= _DROPPED:
                index += _DROPPED * (9 * tens + (rest - _DROPPED) // minute)
            else:
                index += _DROPPED * 9 * tens
        seconds, frames = divmod(index, self.nominal)
        return Timecode(seconds // 3600, seconds // 60 % 60, seconds % 60, frames)


@dataclass(frozen=True)
class TimecodeReport:
    """Where a timecode is.

    Attributes:
        frame: Frames from 00:00:00:00 at `time`.
        time: Seconds of perf_counter.
        rate: How frames are counted.
        origin: What sends it ("midi/DAW", "audio", "artnet/192.168.1.5").
        running: Whether it moves forward at normal speed. If not, it stays at `frame`.
    """

    frame: float
    time: float
    rate: FrameRate
    origin: str
    running: bool = True

    def frame_at(self, now: float) -> float:
        """Frames from 00:00:00:00 at `now`; it begins again after 24 hours."""
        passed = (now - self.time) * self.rate.per_second if self.running else 0.0
        return (self.frame + passed) % self.rate.day

    def timecode_at(self, now: float) -> Timecode:
        """The timecode that is shown at `now`."""
        return self.rate.timecode(int(self.frame_at(now) + 1e-6))
