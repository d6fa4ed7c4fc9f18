"""Holds OSC messages until the time tag of their bundle is due.

A time tag is NTP time: 32 bits of seconds since 1900 and 32 bits of fraction. It is compared with the wall clock once,
when the bundle arrives. After that the event loop's monotonic time counts, so that setting the system clock moves no
waiting message. A message that is late or tagged "immediately" is due now. So is one more than HORIZON ahead: its
sender's clock is wrong, and a wrong clock must not leave a fader dead. With `auto`, so is every message of a sender
whose tags are steadily ahead (sender_clocks.py). A panic never waits.

A sender may have as many messages waiting as there is room left: one that floods takes half of it, and leaves room for
others.

A waiting message must not undo what came after it: a newer move of its parameter cancels it. The messages that one
sender has planned do not cancel each other.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lcm_daemon.controllers.osc.sender_clocks import MIN_AHEAD, SenderClocks
from lcm_daemon.controllers.osc.udp import TURN, Address
from lcm_daemon.controllers.osc_protocol.packet_check import IMMEDIATELY
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

AUTO, HONOUR, IGNORE = MODES = ("auto", "honour", "ignore")
HORIZON = 60.0  # seconds
MAX_WAITING = 8192  # messages
MAX_BYTES = 2 << 20  # of all waiting messages
MAX_SAID = 256  # senders of which something was logged

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


class PlannedMessage(NamedTuple):
    """A message, and the parameters that it moves."""

    message: bytes
    moves: Collection[str] = ()


class _Waiting(NamedTuple):
    due: float  # loop time
    number: int  # order of arrival
    message: bytes
    source: Address
    moves: Collection[str]


@dataclass
class _Share:
    """What waits of one sender."""

    messages: int = 0
    bytes: int = 0

    def add(self, waiting: _Waiting, sign: int) -> None:
        self.messages += sign
        self.bytes += sign * len(waiting.message)


class TimetagQueue:
    """Handles each message when it is due, in order of time.

    Args:
        handle: Called with a message and its source when the message is due.
        metrics: Counters.
        wall_clock: Seconds since 1970.
        mode: One of MODES.
        plan: Returns the messages that stand for a message while it waits; nothing for one that must not wait.
    """

    def __init__(
        self, handle: Callable[[bytes, Address], None], metrics: Metrics, wall_clock: Callable[[], float] = time.time,
        mode: str = HONOUR,
        plan: Callable[[bytes], Sequence[PlannedMessage]] = lambda message: [PlannedMessage(message)],
    ) -> None:
        self._handle, self._wall_clock, self._mode, self._plan = handle, wall_clock, mode, plan
        self._throttle = LogThrottle(log, metrics)
        self._clocks = SenderClocks()
        self._waiting: list[_Waiting] = []  # a heap
        self._moves: Counter[str] = Counter()  # waiting messages by parameter
        self._of_sender: defaultdict[Address, _Share] = defaultdict(_Share)
        self._numbers = itertools.count()
        self._bytes = 0
        self._handling: _Waiting | None = None
        self._said: set[tuple[str, Address]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def postpone(self, message: bytes, timetag: int, source: Address) -> bool:
        """Queue a message that is due later. Return False for one that is due now.

        A message beyond the limits is dropped and counted, and the result is True.
        """
        if self._mode == IGNORE:
            return False
        now, lead = asyncio.get_running_loop().time(), self._lead(timetag)
        delay = self._delay(source, lead, now) if self._mode == AUTO else lead
        if delay > HORIZON:
            self._throttle.warn(
                "osc/bundle/far",
                f"OSC: bundle from {source} is {delay:.0f} s ahead (limit {HORIZON:.0f} s); it is applied now")
        if not 0.0 < delay <= HORIZON:
            return False
        planned = self._plan(message)
        if not planned:
            return False
        free = MAX_WAITING - len(self._waiting)
        of_sender, free_bytes = self._of_sender.get(source, _Share()), MAX_BYTES - self._bytes
        if of_sender.messages + len(planned) > free or of_sender.bytes + len(message) > free_bytes:
            self._throttle.warn(
                "osc/bundle/dropped", f"OSC: too many messages wait for their time tag; one from {source} is dropped")
            return True
        if delay >= MIN_AHEAD:
            self._say("waits", source, f"a bundle of {source} is {delay:.1f} s ahead; it waits until then")
        for each in planned:
            self._push(_Waiting(now + delay, next(self._numbers), each.message, source, each.moves))
        self._arm()
        return True

    def is_due(self, timetag: int) -> bool:
        """Whether a message with this time tag is due now by any clock."""
        return timetag <= IMMEDIATELY or self._mode == IGNORE or self._lead(timetag) <= 0.0

    def cancel(self, parameter: str) -> None:
        """Drop the waiting messages that move a parameter, because a newer move of it is being carried out.

        While a waiting message itself is carried out, only older ones of other senders are dropped.
        """
        if not self._moves[parameter]:
            return
        now_handled = self._handling
        for each in [each for each in self._waiting if parameter in each.moves]:
            if now_handled is None or (each.number < now_handled.number and each.source != now_handled.source):
                self._waiting.remove(each)
                self._forget(each)
        heapq.heapify(self._waiting)
        self._arm()

    def clear(self) -> None:
        """Drop all waiting messages."""
        self._waiting.clear()
        self._of_sender.clear()
        self._moves.clear()
        self._bytes = 0
        self._arm()

    def _push(self, waiting: _Waiting) -> None:
        heapq.heappush(self._waiting, waiting)
        self._moves.update(waiting.moves)
        self._of_sender[waiting.source].add(waiting, 1)
        self._bytes += len(waiting.message)

    def _forget(self, waiting: _Waiting) -> None:
        self._bytes -= len(waiting.message)
        self._moves.subtract(waiting.moves)
        self._of_sender[waiting.source].add(waiting, -1)
        if not self._of_sender[waiting.source].messages:
            del self._of_sender[waiting.source]
        for parameter in waiting.moves:
            if self._moves[parameter] <= 0:
                del self._moves[parameter]

    def _lead(self, timetag: int) -> float:
        """Seconds until a time tag. The difference is taken modulo 2^64, so the NTP rollover of 2036 does no harm."""
        if timetag <= IMMEDIATELY:
            return 0.0
        now = int((self._wall_clock() + _NTP_EPOCH) * 2**32)
        return ((timetag - now + 2**63) % 2**64 - 2**63) / 2**32

    def _delay(self, source: Address, lead: float, now: float) -> float:
        """Seconds until a message is due by its sender's clock."""
        known = self._clocks.is_ahead(source)
        delay = self._clocks.delay(source, lead, now)
        if not known and self._clocks.is_ahead(source):
            self._take_at_once(source, lead)
        return delay

    def _take_at_once(self, source: Address, lead: float) -> None:
        """The sender's clock is ahead: carry out what it has sent so far, in order, before what it sends now."""
        self._say("ahead", source, f"the time tags of {source} are steadily {lead:.1f} s ahead, so its clock is; its "
                  "messages are carried out at once (`time_tags: honour` would wait)")
        released = sorted(each for each in self._waiting if each.source == source)
        for each in released:
            if each in self._waiting:  # what was carried out before may have cancelled it
                self._waiting.remove(each)
                heapq.heapify(self._waiting)
                self._carry_out(each)
        self._arm()

    def _say(self, what: str, source: Address, text: str) -> None:
        """Log something of a sender once."""
        if (what, source) not in self._said and len(self._said) < MAX_SAID:
            self._said.add((what, source))
            log.warning("OSC: %s", text)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._waiting[0].due, self._handle_due) if self._waiting else None

    def _handle_due(self) -> None:
        """Handle due messages for at most one turn; the timer runs again for the rest."""
        now, end = asyncio.get_running_loop().time(), time.perf_counter() + TURN
        try:
            while self._waiting and self._waiting[0].due <= now and time.perf_counter() < end:
                self._carry_out(heapq.heappop(self._waiting))
        finally:
            self._arm()

    def _carry_out(self, waiting: _Waiting) -> None:
        self._forget(waiting)
        self._handling = waiting
        try:
            self._handle(waiting.message, waiting.source)
        finally:
            self._handling = None
