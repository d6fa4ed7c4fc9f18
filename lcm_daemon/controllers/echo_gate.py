"""EchoGate: keeps what peers send back of what they were sent from being taken for moves.

A slider that is bound both ways sends back every value that it is sent. By then a newer value may be set, and the older
one must not replace it. So each value that is reported to a peer excuses one identical value from that peer for a
second. Numbers are identical if they are as 32-bit floats.

Some programs listen on another port than they send from, and nothing says that both belong together. They are also sent
their own moves. A value that such a sender has moved to itself, and sends again after another one, may be an echo or
the hand that has come back. It waits: if the next value that comes is an echo too, it was one; if nothing comes, it was
a move. From then on it is known whether this sender echoes.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lcm_daemon.core.float32 import float32

EXCUSE_SECONDS = 1.0
DOUBT_SECONDS = 0.45  # how long a value waits that may be an echo or a move
SILENCE_SECONDS = 0.5  # after which a peer that was sent its own move would have sent it back
MAX_DOUBTS = 3  # values in a row that may wait; after that, the peer is one that echoes slowly
MAX_REPORTS = 64  # of one control to one peer that are remembered
MAX_CONTROLS = 4096  # that are remembered
MAX_PEERS = 64  # peers, and senders, of one control that are remembered


class _Report(NamedTuple):
    value: Any
    time: float
    mover: str  # who has moved the control to this value


@dataclass
class _Sender:
    """What is known of one control of one sender."""

    last: Any = None  # the last value that was taken for a move
    echoes: bool | None = None  # whether it sends back its own moves; None: unknown
    waiting: asyncio.TimerHandle | None = None  # a value that may be an echo or a move
    doubts: int = 0  # values in a row that waited and were carried out

    def stop_waiting(self) -> bool:
        """Drop the value that waits. Returns whether there was one."""
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.cancel()
        return waiting is not None


@dataclass
class _Reports:
    """The values of one control that one peer was sent, the oldest first."""

    kept: deque[_Report] = field(default_factory=deque)
    silent: int = 0  # how many of the oldest are older than SILENCE_SECONDS
    counts: dict[Any, int] = field(default_factory=dict)  # how often each value is among them

    def add(self, report: _Report) -> None:
        if len(self.kept) >= MAX_REPORTS:
            self.pop()
        self.kept.append(report)
        self.counts[report.value] = self.counts.get(report.value, 0) + 1

    def pop(self) -> _Report:
        """Remove the oldest report."""
        report = self.kept.popleft()
        self.silent = max(0, self.silent - 1)
        self.counts[report.value] -= 1
        if not self.counts[report.value]:
            del self.counts[report.value]
        return report

    def pop_until(self, value: Any) -> _Report | None:
        """Remove the oldest report of a value, and the reports before it."""
        if value not in self.counts:
            return None
        while (report := self.pop()).value != value:
            pass
        return report


@dataclass
class _Control:
    """What is known of one control."""

    reports: dict[Hashable, _Reports] = field(default_factory=dict)  # by peer
    senders: dict[str, _Sender] = field(default_factory=dict)

    def find(self, peers: Iterable[Hashable], value: Any, now: float) -> _Report | None:
        """Remove the oldest report of this value to one of the peers, and the reports before it."""
        for peer in peers:
            reports = self.reports.get(peer)
            if reports is None or not reports.kept:
                continue
            self.expire(reports, now)
            report = reports.pop_until(comparable(value))
            if report is not None:
                return report
        return None

    def expire(self, reports: _Reports, now: float) -> None:
        """Drop the reports that excuse nothing any more. A sender that has not sent back its own move never does."""
        kept = reports.kept
        while reports.silent < len(kept) and now - kept[reports.silent].time >= SILENCE_SECONDS:
            sender = self.senders.get(kept[reports.silent].mover)
            if sender is not None and sender.echoes is None:
                sender.echoes = False
            reports.silent += 1
        while kept and now - kept[0].time >= EXCUSE_SECONDS:
            reports.pop()

    def forget_older(self, peers: Iterable[Hashable], oldest: float) -> None:
        for peer in peers:
            reports = self.reports.get(peer)
            while reports is not None and reports.kept and reports.kept[0].time <= oldest:
                reports.pop()

    def clear_waiting(self) -> None:
        for sender in self.senders.values():
            sender.stop_waiting()


@dataclass
class EchoGate:
    """What the peers of one controller were sent, and what came back. Call it from the desk's event loop.

    Attributes:
        latency: Seconds after which a peer has sent back what it was sent, if it has moved its control since.
        now: Monotonic seconds.
    """

    latency: float = EXCUSE_SECONDS
    now: Callable[[], float] = time.monotonic
    _controls: dict[Hashable, _Control] = field(default_factory=dict)

    def report(self, peer: Hashable, control: Hashable, value: Any, mover: str = "") -> None:
        """A value is sent to a peer.

        Args:
            peer: Who receives it.
            control: The address or control that it is sent to.
            value: The value.
            mover: Origin of the change that is reported; "" for an answer.
        """
        known = self._controls.get(control)
        if known is None:
            if len(self._controls) >= MAX_CONTROLS:
                self._controls.pop(next(iter(self._controls))).clear_waiting()
            known = self._controls[control] = _Control()
        reports = known.reports.get(peer)
        if reports is None:
            if len(known.reports) >= MAX_PEERS:
                del known.reports[next(iter(known.reports))]
            reports = known.reports[peer] = _Reports()
        now = self.now()
        known.expire(reports, now)
        reports.add(_Report(comparable(value), now, mover))
        if mover and mover not in known.senders:
            if len(known.senders) >= MAX_PEERS:
                known.senders.pop(next(iter(known.senders))).stop_waiting()
            known.senders[mover] = _Sender(last=value)

    def has_reported(self, control: Hashable) -> bool:
        """Whether a value of this control was reported; if not, every value is a move."""
        return control in self._controls

    def is_move(
        self, peers: Iterable[Hashable], sender: str, control: Hashable, value: Any,
        later: Callable[..., None], *arguments: Any,
    ) -> bool:
        """Whether a value that a sender sends is to be carried out now.

        Args:
            peers: The peers that the sender can be.
            sender: Origin of the sender's changes.
            control: The address or control that sends it.
            value: The value.
            later: Called if the value turns out to be a move after a short wait; the result is False until then.
            arguments: Arguments of `later`.
        """
        seen = self._controls.get(control)
        if seen is None:
            return True
        now = self.now()
        report, known = seen.find(peers, value, now), seen.senders.get(sender)
        if report is None:
            if known is not None:
                known.stop_waiting()
                known.last, known.doubts = value, 0
            if self.latency < EXCUSE_SECONDS:
                seen.forget_older(peers, now - self.latency)
            return True
        if known is None or report.mover != sender:
            return False
        if known.stop_waiting() or comparable(known.last) == report.value or known.doubts >= MAX_DOUBTS:
            known.echoes = True
        elif known.echoes is False:
            known.last = value
            return True
        elif known.echoes is None:
            known.waiting = asyncio.get_running_loop().call_later(
                DOUBT_SECONDS, self._end_doubt, known, value, functools.partial(later, *arguments))
        return False

    def clear_waiting(self) -> None:
        """Drop the values that wait: a panic cancels them."""
        for control in self._controls.values():
            control.clear_waiting()

    def _end_doubt(self, sender: _Sender, value: Any, later: Callable[[], None]) -> None:
        sender.waiting, sender.last, sender.doubts = None, value, sender.doubts + 1
        later()


def comparable(value: Any) -> Any:
    """A value as it is compared: every number as a 32-bit float, everything else as text."""
    return float32(value) if isinstance(value, (float, int)) else str(value)


def sent_value(arguments: Sequence[Any]) -> Any:
    """The value of a message: its first argument, or the words of a text that a program sends as several."""
    if len(arguments) > 1 and all(isinstance(argument, str) for argument in arguments):
        return " ".join(arguments)
    return arguments[0] if arguments else None
