"""TimecodeSchedule: which cue a timecode asks for.

It asks for a state, not for moments: the cue whose time came last should be on. So a timecode that starts in the
middle, or jumps, brings the right cue. Where it jumps back, the cue starts again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lcm_daemon.core.timecode import FrameRate, Timecode, TimecodeReport

BACK = 1.0  # seconds; a correction, or the end of a timecode that has run on for a moment, is smaller; jumps are larger
LATE_DAY = 0.5  # of a day: what lies farther ahead is behind, on the other side of midnight

Times = Sequence[tuple[str, str]]  # name and timecode of each cue that has one, in the order of the list


def is_timecode(text: str) -> bool:
    """Whether the time of a cue is a timecode ("01:00:10:00"), and not a time of day ("21:30")."""
    return text.count(":") == 3


def timecode_status(report: TimecodeReport | None, now: float) -> Mapping[str, str]:
    """The status entry of a timecode at `now` (seconds of perf_counter); none before a timecode has arrived."""
    if report is None:
        return {}
    return {"timecode": f"{report.timecode_at(now)}{'' if report.running else ', stopped'}"}


class TimecodeSchedule:
    """Which cue should start now."""

    def __init__(self) -> None:
        self._asked: str | None = None  # the cue that was asked for last, "" before the first; None: not known
        self._frame = 0.0  # where the timecode was, in frames
        self._rate: FrameRate | None = None
        self._times: Times = ()
        self._frames: list[tuple[int, str]] = []  # of each cue, in the order of time

    def due(self, report: TimecodeReport, now: float, times: Times, current: str) -> str:
        """Return the name of the cue that starts now; "" if none does.

        Args:
            report: The timecode. While it does not run, no cue starts.
            now: Seconds of perf_counter.
            times: The cues with a timecode.
            current: The cue that plays. After a restart it is not started again.
        """
        if not report.running or not times:
            return ""
        frame, before = report.frame_at(now), self._asked
        back = self._way_back(frame, report.rate)
        if back > BACK * report.rate.nominal:
            before = ""
        elif back > 0.0:
            frame = self._frame  # wait there: no cue of a moment ago starts again
        self._frame = frame
        asked = self._asked = self._at(frame, report.rate, times)
        if asked == before or (before is None and asked == current):
            return ""
        return asked

    def _way_back(self, frame: float, rate: FrameRate) -> float:
        """Frames that the timecode has gone back; 0 if it has gone forward."""
        if self._asked is None or rate != self._rate:
            return 0.0
        back = (self._frame - frame) % rate.day
        return back if back < LATE_DAY * rate.day else 0.0

    def _at(self, frame: float, rate: FrameRate, times: Times) -> str:
        """The last cue whose time has come; "" before the first one."""
        if rate != self._rate or times != self._times:
            self._rate, self._times = rate, times
            # `sorted` keeps the order of the list: of two cues at one time, the later one counts
            self._frames = sorted(((rate.index(Timecode.parse(at)), name) for name, at in times),
                                  key=lambda entry: entry[0])
        passed = [name for at, name in self._frames if at <= frame + 1e-3]
        return passed[-1] if passed else ""
