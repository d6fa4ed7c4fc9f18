"""Holds OSC messages until the time tag of their bundle is due.

A time tag is NTP time: 32 bits of seconds since 1900 and 32 bits of fraction. It is compared with the wall clock once,
when the bundle arrives. After that the event loop's monotonic time counts, so that setting the system clock moves no
waiting message. A message that is late or tagged "immediately" is due now. So is one more than HORIZON ahead: its
sender's clock is wrong, and a wrong clock must not leave a fader dead.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable

from lcm_daemon.controllers.osc.udp import TURN, Address
from lcm_daemon.controllers.osc_protocol.packet_check import IMMEDIATELY
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

HORIZON = 60.0  # seconds
MAX_WAITING = 4096  # messages
MAX_BYTES = 1 << 20  # of all waiting messages

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970


class TimetagQueue:
    """Handles each message when it is due, in order of time.

    Args:
        handle: Called with a message and its source when the message is due.
        metrics: Counters.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self, handle: Callable[[bytes, Address], None], metrics: Metrics, wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._handle, self._wall_clock = handle, wall_clock
        self._throttle = LogThrottle(log, metrics)
        self._waiting: list[tuple[float, int, bytes, Address]] = []  # a heap: due (loop time), order of arrival
        self._numbers = itertools.count()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def postpone(self, message: bytes, timetag: int, source: Address) -> bool:
        """Queue a message that is due later. Return False for one that is due now.

        A message beyond the limits is dropped and counted, and the result is True.
        """
        delay = self._delay(timetag)
        if delay > HORIZON:
            self._throttle.warn(
                "osc/bundle/far",
                f"OSC: bundle from {source} is {delay:.0f} s ahead (limit {HORIZON:.0f} s); it is applied now")
        if not 0.0 < delay <= HORIZON:
            return False
        if len(self._waiting) >= MAX_WAITING or self._bytes + len(message) > MAX_BYTES:
            self._throttle.warn(
                "osc/bundle/dropped", f"OSC: too many messages wait for their time tag; one from {source} is dropped")
            return True
        due = asyncio.get_running_loop().time() + delay
        heapq.heappush(self._waiting, (due, next(self._numbers), message, source))
        self._bytes += len(message)
        self._arm()
        return True

    def clear(self) -> None:
        """Drop all waiting messages."""
        self._waiting.clear()
        self._bytes = 0
        self._arm()

    def _delay(self, timetag: int) -> float:
        """Seconds until a time tag. The difference is taken modulo 2^64, so the NTP rollover of 2036 does no harm."""
        if timetag <= IMMEDIATELY:
            return 0.0
        now = int((self._wall_clock() + _NTP_EPOCH) * 2**32)
        return ((timetag - now + 2**63) % 2**64 - 2**63) / 2**32

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._waiting[0][0], self._handle_due) if self._waiting else None

    def _handle_due(self) -> None:
        """Handle due messages for at most one turn; the timer runs again for the rest."""
        now, end = asyncio.get_running_loop().time(), time.perf_counter() + TURN
        try:
            while self._waiting and self._waiting[0][0] <= now and time.perf_counter() < end:
                _, _, message, source = heapq.heappop(self._waiting)
                self._bytes -= len(message)
                self._handle(message, source)
        finally:
            self._arm()
