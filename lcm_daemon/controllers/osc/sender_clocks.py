"""SenderClocks: finds the senders whose time tags are ahead because their clock is.

Many controllers tag each bundle with the time at which it is sent, by their own clock. If that is seconds ahead, every
fader would move that much later. Such a sender is known by its tags: they are always ahead by the same time. A sender
that plans its messages has tags that are ahead by various times, or by less than MIN_AHEAD.
"""

from __future__ import annotations

from dataclasses import dataclass

from lcm_daemon.controllers.osc.udp import Address

MIN_AHEAD = 0.75  # seconds; programs that send early so that their messages are on time need less
SAME = 0.25  # seconds between two tags' leads that count as the same
STEADY_COUNT = 3  # tags in a row with the same lead, beyond which it is the clock's
SPACING = 0.02  # seconds between two tags that count: the messages that a program plans at one moment count once
FOLLOW = 0.1  # share of a new lead in the clock's: two clocks drift apart
MAX_SENDERS = 256


@dataclass
class _Clock:
    lead: float = 0.0  # seconds by which the last tags in a row were ahead
    count: int = 0  # tags in that row
    counted_at: float = 0.0
    ahead: float | None = None  # the lead of the clock itself, once it is known


class SenderClocks:
    """The clocks of the senders of bundles."""

    def __init__(self) -> None:
        self._clocks: dict[Address, _Clock] = {}

    def delay(self, source: Address, lead: float, now: float) -> float:
        """Seconds until a message is due by its sender's clock.

        Args:
            source: The sender.
            lead: Seconds by which the time tag is ahead of the clock of this machine.
            now: Monotonic seconds.
        """
        if lead < MIN_AHEAD:
            self._clocks.pop(source, None)
            return lead
        clock = self._clocks.get(source)
        if clock is None:
            if len(self._clocks) >= MAX_SENDERS:
                del self._clocks[next(iter(self._clocks))]
            clock = self._clocks[source] = _Clock(lead, 1, now)
        elif now - clock.counted_at >= SPACING:
            self._count(clock, lead, now)
        if clock.ahead is None:
            return lead
        delay = lead - clock.ahead
        return delay if delay > SAME else 0.0

    def is_ahead(self, source: Address) -> bool:
        """Whether a sender's clock is known to be ahead."""
        clock = self._clocks.get(source)
        return clock is not None and clock.ahead is not None

    def _count(self, clock: _Clock, lead: float, now: float) -> None:
        clock.counted_at = now
        if abs(lead - clock.lead) > SAME:
            clock.lead, clock.count = lead, 1
            return
        clock.count += 1
        clock.lead += FOLLOW * (lead - clock.lead)
        if clock.count >= STEADY_COUNT:
            clock.ahead = clock.lead
