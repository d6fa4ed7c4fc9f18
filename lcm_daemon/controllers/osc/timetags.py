"""Schedule: OSC messages that wait for the time tag of their bundle.

A tag is NTP time: seconds since 1900 in 32 bits, and their fraction in 32 more. It is read against the wall clock once,
as the bundle comes in, and from then on the event loop's own clock counts: setting the system's clock moves nothing
that waits. What is late, or marked "immediately", is for now. So is what lies further ahead than HORIZON: its sender's
clock is wrong, and a wrong clock must not leave a fader dead.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable

from lcm_daemon.controllers.osc.udp import TURN, Address
from lcm_daemon.core.metrics import LogThrottle, Metrics

log = logging.getLogger(__name__)

HORIZON = 60.0  # seconds
WAITING = 4096  # messages
BYTES = 1 << 20  # of all messages that wait

_NTP = 2_208_988_800  # seconds from 1900 to 1970
_IMMEDIATELY = 1


class Schedule:
    """Carries each message out when it is due, in order of time. `wall`: seconds since 1970."""

    def __init__(
        self, carry_out: Callable[[bytes, Address], None], metrics: Metrics, wall: Callable[[], float] = time.time,
    ) -> None:
        self._carry_out, self._health, self._wall = carry_out, metrics, wall
        self._throttle = LogThrottle(log, metrics)
        self._waiting: list[tuple[float, int, bytes, Address]] = []  # a heap: due (loop time), order of arrival
        self._numbers = itertools.count()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, message: bytes, tag: int, source: Address) -> bool:
        """Take a message in, if it is to wait; False where it is for now. Beyond the limits it is dropped (counted)."""
        delay = self._delay(tag)
        if delay > HORIZON:
            self._throttle.warn("osc/bundle/far", f"OSC bundle from {source} is {delay:.0f} s ahead: carried out at once")
        if not 0.0 < delay <= HORIZON:
            return False
        if len(self._waiting) >= WAITING or self._bytes + len(message) > BYTES:
            self._throttle.warn("osc/bundle/dropped", f"OSC bundle from {source} dropped: too much waits for its time")
            return True
        due = asyncio.get_running_loop().time() + delay
        heapq.heappush(self._waiting, (due, next(self._numbers), message, source))
        self._bytes += len(message)
        self._arm()
        return True

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._bytes = 0
        self._arm()

    def _delay(self, tag: int) -> float:
        """Seconds from now; the difference of two tags is taken as nearest, so that the turn of 2036 does no harm."""
        if tag <= _IMMEDIATELY:
            return 0.0
        now = int((self._wall() + _NTP) * 2**32)
        return ((tag - now + 2**63) % 2**64 - 2**63) / 2**32

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(self._waiting[0][0], self._run) if self._waiting else None

    def _run(self) -> None:
        """One turn of what is due; the rest has the next."""
        now, end = asyncio.get_running_loop().time(), time.perf_counter() + TURN
        try:
            while self._waiting and self._waiting[0][0] <= now and time.perf_counter() < end:
                _, _, message, source = heapq.heappop(self._waiting)
                self._bytes -= len(message)
                self._carry_out(message, source)
        finally:
            self._arm()
