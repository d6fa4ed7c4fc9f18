"""TimecodeInput: finds in a timecode's frames what the stage has to know: it runs, it has stopped, it has jumped."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from lcm_daemon.core.timecode import FrameRate, TimecodeReport

log = logging.getLogger(__name__)

FREEWHEEL = 0.5  # seconds without a frame after which the timecode has stopped; until then it runs on
JUMP = 2.0  # frames; what is farther away is not explained by delays
DRIFT = 0.25  # frames that the published time may be wrong
AVERAGED = 15  # frames whose delays are averaged
QUIET = 10.0  # seconds between two log lines: a loose cable starts and stops a timecode many times a second

CallLater = Callable[[float, Callable[[], None]], object]


class TimecodeInput:
    """Takes the frames of one sender, and publishes a report where the last one does not say where it is now.

    Frames arrive late by some milliseconds: the published time is the median of the last ones. One frame that is far
    off is an error of the line, two are a jump. Another sender is heard once the first one has stopped.

    Args:
        publish: Called with each report that the stage should know.
        clock: Returns seconds of perf_counter.

    Attributes:
        report: The last report that was published; None before the first.
    """

    def __init__(
        self, publish: Callable[[TimecodeReport], None], clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._publish_to_stage, self._clock = publish, clock
        self._call_later: CallLater = lambda seconds, call: None
        self.report: TimecodeReport | None = None
        self._last: TimecodeReport | None = None  # the last frame
        self._apart: deque[float] = deque(maxlen=AVERAGED)  # frames by which the last ones were late
        self._odd: TimecodeReport | None = None  # a frame that is far off
        self._is_watched = False
        self._logged_at = -math.inf

    def start(self, call_later: CallLater, known: TimecodeReport | None) -> None:
        """Start to look for silence.

        Args:
            call_later: Calls a function in some seconds.
            known: The last report of the desk before, if there was one: what it said may have ended since.
        """
        self._call_later = call_later
        if known is not None and self.report is None:
            self.report = known
            if known.running:
                now = self._clock()
                self._last = replace(known, frame=known.frame_at(now), time=now)
                self._watch()

    def receive(self, report: TimecodeReport) -> None:
        """Take a frame, or the news that the timecode is somewhere without running."""
        known = self.report
        if known is not None and known.running and report.origin != known.origin:
            return
        if known is None or not known.running or not report.running or report.rate != known.rate:
            self._begin(report)
        else:
            self._follow(report, known)
        if report.running:
            self._last = report
            self._watch()

    def _begin(self, report: TimecodeReport) -> None:
        """Publish a start, a stop or a jump."""
        self._apart.clear()
        self._odd = None
        if self.report is None or self.report.running != report.running:
            self._log(report)
        self._publish(report)

    def _follow(self, report: TimecodeReport, known: TimecodeReport) -> None:
        expected, day = known.frame_at(report.time), known.rate.day
        apart = _difference(expected, report.frame, known.rate)
        if abs(apart) > JUMP:
            odd, self._odd = self._odd, report
            if odd is not None and abs(_difference(odd.frame_at(report.time), report.frame, known.rate)) <= JUMP:
                self._begin(report)
            return
        self._odd = None
        self._apart.append(apart)
        drift = statistics.median(self._apart)
        if len(self._apart) == AVERAGED and abs(drift) > DRIFT:
            self._apart.clear()
            self._publish(replace(report, frame=(expected - drift) % day))

    def _publish(self, report: TimecodeReport) -> None:
        self.report = report
        self._publish_to_stage(report)

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._call_later(FREEWHEEL, self._look_for_silence)

    def _look_for_silence(self) -> None:
        self._is_watched, last, known = False, self._last, self.report
        if last is None or known is None or not known.running:
            return
        left = FREEWHEEL - (self._clock() - last.time)
        if left > 0.0:
            self._is_watched = True
            self._call_later(left, self._look_for_silence)
        else:
            self._begin(replace(last, running=False))

    def _log(self, report: TimecodeReport) -> None:
        if self._clock() - self._logged_at < QUIET:
            return
        self._logged_at = self._clock()
        state = "runs" if report.running else "has stopped"
        log.info("timecode from %s %s at %s (%s frames a second)", report.origin, state,
                 report.timecode_at(report.time), rate_in_words(report.rate))


def rate_in_words(rate: FrameRate) -> str:
    """The frames a second of a rate: "25", or "29.97" of a drop-frame timecode."""
    return "29.97" if rate.drop else str(rate.nominal)


def _difference(one: float, other: float, rate: FrameRate) -> float:
    """Frames from `other` to `one`, the shorter way around 24 hours."""
    return (one - other + rate.day / 2) % rate.day - rate.day / 2
