"""Feedback: who is told of changes over OSC, and the messages on their way there.

A subscriber is a host and the port it listens on, or the other end of a TCP connection. Most programs send from
another port than they listen on, so a subscriber is also known by the address its subscription came from: what comes
from either of the two is the subscriber's own, and is not echoed to it. A source that subscribed several ports speaks
for the last of them. A subscription ends by itself unless it is renewed; the show's, and a connection's, do not.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lcm_daemon.controllers.osc.sender import encode
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Value

log = logging.getLogger(__name__)

OWN = "lcm"  # the daemon's own addresses, as a subscriber asks for them
SUBSCRIBERS = 64
LIFETIME = 60.0  # seconds of a subscription that names none
LONGEST = 86_400.0
BURST = 128  # messages that leave at a time
WAITING = 2 * SUBSCRIBERS  # listeners with messages waiting, beyond which no stranger's question is answered

_HOSTS: Mapping[str, str] = {"localhost": "127.0.0.1"}


@dataclass(frozen=True)
class Subscriber:
    """source: where its subscription came from.   words: whose addresses it is told.   seconds: inf for ever."""

    source: Address
    words: Collection[str] = (OWN,)
    seconds: float = math.inf


def endpoint(value: Any, home: str) -> Address:
    """Read "host:port", or a port alone, which is then on `home`; raise LcmDaemonError. Names are not looked up."""
    host, _, port = str(value)[:64].rpartition(":")
    try:
        address = str(ipaddress.IPv4Address(_HOSTS.get(host, host or home)))
        number = float(port)  # TouchDesigner sends floats for everything
        if not 1 <= number <= 65535 or number != int(number):
            raise ValueError(port)
    except ValueError as error:
        raise LcmDaemonError(f"{str(value)!r:.80} is not a port (1 to 65535), or an IPv4 address and a port") from error
    return Address(address, int(number))


class Feedback:
    """The subscribers and their outbox. `transmit` sends one packet, and raises OSError where it cannot.

    rate: of several messages to one address that come within 1 / rate seconds, the newest is sent.
    changed: told whenever the subscribers are others.
    """

    def __init__(
        self, transmit: Callable[[bytes, Address], object], metrics: Metrics, rate: float,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._transmit, self._health, self._changed = transmit, metrics, changed
        self._interval = 1.0 / rate
        self._throttle = LogThrottle(log, metrics)
        self._subscribers: dict[Address, Subscriber] = {}  # by where they listen
        self._endings: dict[Address, asyncio.TimerHandle] = {}
        self._speakers: dict[Address, Address] = {}  # where a subscription came from: where its subscriber listens
        self._encoded: dict[str, tuple[Value, bytes]] = {}  # the last message at each address
        self._outbox: dict[Address, dict[str, bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed = -math.inf

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribers(self) -> dict[Address, Subscriber]:
        """The subscribers, by where they listen."""
        return dict(self._subscribers)

    def words(self) -> set[str]:
        """Whose addresses anybody is told."""
        return {word for subscriber in self._subscribers.values() for word in subscriber.words}

    def subscribe(self, listener: Address, subscriber: Subscriber) -> bool:
        """Add a subscriber, or renew one; False (counted) where there are SUBSCRIBERS already."""
        if listener not in self._subscribers and len(self._subscribers) >= SUBSCRIBERS:
            self._throttle.warn("osc/refused", f"OSC subscriber {listener} refused: there are {SUBSCRIBERS}")
            return False
        self._forget(listener)
        self._subscribers[listener] = subscriber
        self._speakers[subscriber.source] = listener
        if subscriber.seconds < math.inf:
            loop = asyncio.get_running_loop()
            self._endings[listener] = loop.call_later(subscriber.seconds, self._expire, listener)
        self._changed()
        return True

    def unsubscribe(self, listener: Address) -> None:
        """Forget a subscriber, if it is one, and what waits for it."""
        self._outbox.pop(listener, None)
        if self._forget(listener):
            self._changed()

    def _expire(self, listener: Address) -> None:
        self._health.count("osc/feedback/expired")
        self.unsubscribe(listener)

    def _forget(self, listener: Address) -> bool:
        subscriber = self._subscribers.pop(listener, None)
        if subscriber is None:
            return False
        if self._speakers.get(subscriber.source) == listener:
            del self._speakers[subscriber.source]
        ending = self._endings.pop(listener, None)
        if ending is not None:
            ending.cancel()
        return True

    def origin(self, source: Address) -> str:
        """The name under which a source's changes go: its subscriber's where it has one, else its own."""
        return f"osc/{self._speakers.get(source, source)}"

    def tell(self, address: str, value: Value, origin: str = "", word: str = OWN) -> None:
        """Send to every subscriber who is told such addresses, but the one called `origin`."""
        for listener, subscriber in self._subscribers.items():
            overtaken = address in self._outbox.get(listener, ())  # another's older value must not come after its own
            if word in subscriber.words and (overtaken or self.origin(listener) != origin):
                self.send(listener, address, value)

    def answer(self, asker: Address, address: str, value: Value) -> None:
        """Send to where a question came from, and to every subscriber on that host."""
        asked_before = address in self._outbox.get(asker, ())
        others = () if asked_before else (known for known in self._subscribers if known[0] == asker[0])
        for listener in {asker, *others}:
            if listener in self._outbox or listener in self._subscribers or len(self._outbox) < WAITING:
                self.send(listener, address, value)
            else:
                self._health.count("osc/feedback/dropped")

    def send(self, listener: Address, address: str, value: Value) -> None:
        """Send to one listener, shortly."""
        packet = self._encode(address, value)
        if packet:
            self._outbox.setdefault(listener, {})[address] = packet
        if self._timer is None:
            self._arm()

    def close(self) -> None:
        """Send nothing more, to nobody."""
        for ending in self._endings.values():
            ending.cancel()
        for everything in (self._subscribers, self._speakers, self._endings, self._outbox):
            everything.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _encode(self, address: str, value: Value) -> bytes:
        """A bool goes as 0 or 1: not every receiver knows T and F. Empty (counted) where OSC cannot carry the value."""
        last, packet = self._encoded.get(address, (None, b""))
        if value != last:
            try:
                packet = encode(address, [int(value) if isinstance(value, bool) else value])
            except LcmDaemonError as error:
                self._throttle.warn("osc/feedback/failed", str(error))
                packet = b""
            self._encoded[address] = value, packet
        return packet

    def _flush(self) -> None:
        """Send one burst, listener by listener; one that is not finished goes to the end of the row."""
        left = BURST
        while self._outbox and left:
            listener = next(iter(self._outbox))
            messages = self._outbox.pop(listener)
            for address in list(itertools.islice(messages, left)):
                self._post(messages.pop(address), listener)
                left -= 1
            if messages:
                self._outbox[listener] = messages
        self._flushed, self._timer = asyncio.get_running_loop().time(), None
        if self._outbox:
            self._arm()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._flushed + self._interval - loop.time()), self._flush)

    def _post(self, packet: bytes, listener: Address) -> None:
        try:
            self._transmit(packet, listener)
        except OSError as error:
            self._throttle.warn("osc/feedback/failed", f"OSC to {listener}: {error}")
