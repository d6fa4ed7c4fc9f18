"""Logs what was refused, and tells peers: `/lcm/error` with one line of text, to the sender and to every subscriber."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from lcm_daemon.controllers.osc.subscribers import Subscribers
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.aliases import OWN_NAMESPACE
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.osc_names import ERROR
from lcm_daemon.core.rate_limit import RateLimit
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.suggestions import suggestion

log = logging.getLogger(__name__)

MAX_LOGGED_UNKNOWN = 32  # unknown addresses that are logged, once each; further ones are only counted
REPEAT_SECONDS = 1.0  # the same text is sent to the same listener once in this time
MAX_FAULTS = 128  # of one host that are logged and reported in a second; further ones are only counted
PACKET = "packet"
MAX_RECENT = 64  # reports within REPEAT_SECONDS, beyond which further ones are not sent: a flood is not answered by one

_ORIGIN = "osc/"


class ErrorReports:
    """Sends the reports.

    Args:
        subscribers: The OSC subscribers.
        metrics: Counters.
        now: Monotonic seconds.
        report: Tells every controller of a refusal, this one included; otherwise only this one learns of it.
    """

    def __init__(
        self, subscribers: Subscribers, metrics: Metrics, now: Callable[[], float] = time.monotonic,
        report: Callable[[Refusal], None] | None = None,
    ) -> None:
        self._subscribers, self._metrics, self._now = subscribers, metrics, now
        self._report = report or self.on_refusal
        self._throttle = LogThrottle(log, metrics)
        self._limit = RateLimit(MAX_FAULTS, now)
        self._unknown: dict[str, str] = {}  # unknown addresses that were logged, with the address that was meant
        self._recent: dict[tuple[Address, str], float] = {}  # when each report was sent, the oldest first

    def send(self, text: str, source: Address | None = None) -> None:
        """Send a text to the source of the refused message, if there is one, and to every subscriber."""
        if self._is_full():
            return
        now = self._now()
        listeners = dict.fromkeys([source] if source else [])
        for listener, subscriber in self._subscribers.by_listener().items():
            if OWN_NAMESPACE in subscriber.namespaces:
                listeners[listener] = None
        for listener in listeners:
            key = (listener, text)
            if key not in self._recent and len(self._recent) < MAX_RECENT:
                self._recent[key] = now
                self._subscribers.answer(listener, ERROR, text, key=f"{ERROR} {text}")

    def on_unknown(self, address: str, source: Address, known: Mapping[str, Any]) -> None:
        """Handle a message to an address that is not in `known`."""
        self._metrics.count("osc/unknown")
        if not self._limit.allows(source.host):
            return
        if len(self._unknown) < MAX_LOGGED_UNKNOWN and address not in self._unknown:
            self._unknown[address] = suggestion(address, known)
            log.warning("OSC: unknown address %r from %s%s", address, source, self._unknown[address])
        self.report(f"unknown address {address}{self._unknown.get(address, '')}", source)

    def on_malformed(self, source: Address, what: str, reason: str) -> None:
        """Handle a packet, or a part of one, that is not OSC."""
        if not self._limit.allows(source.host):
            self._metrics.count("osc/malformed")
            return
        self._throttle.warn("osc/malformed", f"OSC: {what} from {source}: {reason}")
        self.report(f"{what}: {reason}" if what != PACKET else reason, source)

    def on_refused(self, address: str, source: Address, reason: str) -> None:
        """Handle a message that the OSC controller has refused."""
        if not self._limit.allows(source.host):
            self._metrics.count("osc/refused")
            return
        self._throttle.warn("osc/refused", f"OSC: {address} from {source} is refused: {reason}")
        self.report(f"{address}: {reason}", source)

    def report(self, text: str, source: Address, answered: bool = True) -> None:
        """Report a packet or message that was refused, to every controller.

        Args:
            text: Why.
            source: Who sent it.
            answered: Whether the sender and the OSC subscribers are told.
        """
        self._report(Refusal(f"{_ORIGIN}{source}", text, answered))

    def on_refusal(self, refusal: Refusal) -> None:
        """Send what the control state or the stage has refused."""
        if self._is_full() or not refusal.answered:
            return
        is_own = refusal.origin.startswith(_ORIGIN)
        source = Address.parse(refusal.origin.removeprefix(_ORIGIN)) if is_own else None
        self.send(refusal.text if is_own else f"{refusal.origin}: {refusal.text}", source)

    def _is_full(self) -> bool:
        """Whether nothing is sent now, because as much as is allowed was sent within REPEAT_SECONDS."""
        recent, now = self._recent, self._now()
        while recent and now - next(iter(recent.values())) >= REPEAT_SECONDS:
            del recent[next(iter(recent))]
        return len(recent) >= MAX_RECENT
