"""Timeline: the frames that came out of a show, and what follows from them: gaps, new pictures, latency."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from lcm_daemon.core.metrics import quantile_of

KEPT_SECONDS = 900.0  # for which each frame is kept; for the time before, spans
LEVEL_SECONDS = 0.3  # before a change of brightness, in which the output shows what was before
LEAST_DIFFERENCE = 6.0  # of 255, between bright and dark, from which a change counts as seen


class FrameSeen(NamedTuple):
    """A frame of the output. arrival: monotonic seconds; mean: brightness from 0 to 255; fresh: another picture than
    the one before."""

    arrival: float
    mean: float
    fresh: bool


class ChangeSeen(NamedTuple):
    """A change of brightness. sent: monotonic seconds; seconds: from then to the output that shows it."""

    sent: float
    seconds: float


@dataclass
class Span:
    """What is kept of some seconds. longest: longest gap between two frames, in seconds; latencies: in seconds."""

    start: float
    frames: int = 0
    fresh: int = 0
    longest: float = 0.0
    darkest: float = 255.0
    latencies: list[float] = field(default_factory=list)


class Timeline:
    """The frames of one output.

    Args:
        start: Monotonic seconds from which frames count.
        span: Seconds of each Span.

    Attributes:
        spans: The time since the start.
        changes: Each change of brightness that the output has shown.
        unseen: Changes that the output did not show before the next one.
    """

    def __init__(self, start: float, span: float) -> None:
        self.start, self.span = start, span
        self.spans: list[Span] = []
        self.changes: list[ChangeSeen] = []
        self.unseen = 0
        self._frames: deque[FrameSeen] = deque()
        self._edges: deque[float] = deque()

    def add(self, frames: Iterable[FrameSeen]) -> None:
        """Add frames, in the order of their arrival."""
        for frame in frames:
            before = self._frames[-1].arrival if self._frames else frame.arrival
            self._frames.append(frame)
            if frame.arrival < self.start:
                continue
            span = self._span_of(frame.arrival)
            span.frames += 1
            span.fresh += frame.fresh
            span.longest = max(span.longest, frame.arrival - max(before, self.start))
            span.darkest = min(span.darkest, frame.mean)
        while self._frames and self._frames[0].arrival < self._frames[-1].arrival - KEPT_SECONDS:
            self._frames.popleft()

    def _span_of(self, time: float) -> Span:
        place = max(0, int((time - self.start) / self.span))
        while len(self.spans) <= place:
            self.spans.append(Span(self.start + len(self.spans) * self.span))
        return self.spans[place]

    def longest_gap(self, start: float, end: float) -> float:
        """The longest time without a new frame between two moments of the last KEPT_SECONDS, in seconds.

        A gap that begins before or ends after counts as a whole. No frame at all is a gap of the whole time.
        """
        times = [frame.arrival for frame in self._frames]
        inside = [b - a for a, b in itertools.pairwise(times) if b > start and a < end]
        last = times[-1] if times else start
        return max([*inside, *([end - last] if last < end else [])], default=0.0)

    def fresh_since(self, time: float) -> int:
        """How many other pictures have come out since then."""
        return sum(1 for frame in self._frames if frame.arrival > time and frame.fresh)

    def add_edges(self, times: Iterable[float]) -> None:
        """Add changes of brightness that were sent, in monotonic seconds. What they show once the frames after them are
        there: see `match`."""
        self._edges.extend(times)

    def match(self, now: float) -> None:
        """Find how long each change of brightness took to come out, once the next one was sent."""
        while len(self._edges) > 1 and self._edges[1] < now - 0.5:
            sent, following = self._edges.popleft(), self._edges[0]
            if sent < self.start:
                continue
            latency = _latency([frame for frame in self._frames if sent - LEVEL_SECONDS <= frame.arrival], sent,
                               following)
            if latency is None:
                self.unseen += 1
                continue
            self.changes.append(ChangeSeen(sent, latency))
            self._span_of(sent).latencies.append(latency)

    def latency(self, quantile: float, without: Sequence[tuple[float, float]] = ()) -> float:
        """A quantile of the time from the sender to the output, in seconds; 0.0 if no change was seen.

        without: Spans whose changes do not count, from and to in monotonic seconds.
        """
        return quantile_of(sorted(each.seconds for each in self.outside(without)), quantile)

    def outside(self, spans: Sequence[tuple[float, float]]) -> list[ChangeSeen]:
        """The changes that were not sent within these spans."""
        return [each for each in self.changes if not any(start <= each.sent <= end for start, end in spans)]


def _latency(frames: Sequence[FrameSeen], sent: float, following: float) -> float | None:
    """Seconds from a change of brightness to the first frame that is nearer to the level after it than to the one
    before; None if the output shows no such change."""
    before = [frame.mean for frame in frames if sent - LEVEL_SECONDS <= frame.arrival < sent]
    after = [frame.mean for frame in frames if following - LEVEL_SECONDS <= frame.arrival < following]
    if not before or not after:
        return None
    low, high = median(before), median(after)
    if abs(high - low) < LEAST_DIFFERENCE:
        return None
    middle = (low + high) / 2
    return next((frame.arrival - sent for frame in frames
                 if sent <= frame.arrival < following and (frame.mean > middle) == (high > low)), None)
