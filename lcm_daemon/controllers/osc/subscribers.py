"""The OSC subscribers, and the feedback messages that wait to be sent to them.

A subscriber is a host and the port it listens on, or the other end of a TCP connection. Most programs send from another
port than they listen on, so a subscriber is also known by the address that its subscription came from. Changes from
either of the two addresses are its own, and are not echoed to it. If a source subscribed several ports, its changes
belong to the last one. A subscription expires unless it is renewed; those of the show and of TCP connections do not.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lcm_daemon.controllers.osc.ip import parse_ip
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.aliases import OWN_NAMESPACE
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle, Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.web.address import is_open

log = logging.getLogger(__name__)

MAX_SUBSCRIBERS = 64
MAX_OF_HOST, KEPT_HERE = 16, 8  # subscriptions of one host of the network; those that the network leaves for others
CACHED_ORIGINS = 256
DEFAULT_LIFETIME = 60.0  # seconds of a subscription that names none
MAX_LIFETIME = 86_400.0  # seconds
FLUSH_MESSAGES = 128  # messages sent in one flush at most
MAX_QUEUES = 2 * MAX_SUBSCRIBERS  # listeners with waiting messages, beyond which only subscribers get replies

_HOSTS: Mapping[str, str] = {"localhost": "127.0.0.1"}


@dataclass(frozen=True)
class Subscriber:
    """A subscription.

    Attributes:
        source: The address that the subscription came from.
        namespaces: Whose addresses the subscriber receives.
        seconds: Lifetime; infinity if it does not expire.
    """

    source: Address
    namespaces: Collection[str] = (OWN_NAMESPACE,)
    seconds: float = math.inf


class _Message(NamedTuple):
    """A message that waits. origin: of the change that it reports, or ""."""

    packet: bytes
    address: str
    value: Value
    origin: str


def parse_endpoint(value: Any, default_host: str) -> Address:
    """Parse "host:port", "[IPv6 address]:port", or a port at `default_host`. Host names are not resolved.

    Raises:
        LcmDaemonError: The value is neither.
    """
    host, _, port = str(value)[:64].rpartition(":")
    try:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if ":" in bare and bare == host:
            raise ValueError(f"{host} needs brackets")
        address = str(parse_ip(_HOSTS.get(bare, bare or default_host)))
        number = float(port)  # TouchDesigner sends floats for everything
        if not 1 <= number <= 65535 or number != int(number):
            raise ValueError(port)
    except ValueError as error:
        raise LcmDaemonError(f"{str(value)!r:.80} is not a port (1 to 65535), or an IP address and a port") from error
    return Address(address, int(number))


@functools.lru_cache(CACHED_ORIGINS)  # it is needed several times for each message
def _origin_of(address: Address) -> str:
    return f"osc/{address}"


class Subscribers:
    """The subscribers by the address they listen on, and one queue of messages for each listener.

    Args:
        transmit: Sends one packet; raises OSError if it cannot.
        metrics: Counters.
        rate: Highest rate in Hz: of several messages to one address within 1 / rate seconds, only the newest is sent.
        on_change: Called when the set of subscribers has changed.
        on_sent: Called with each value that was sent: listener, address, value, and the origin of the change if
            an OSC peer has made it.
    """

    def __init__(
        self, transmit: Callable[[bytes, Address], object], metrics: Metrics, rate: float,
        on_change: Callable[[], None] = lambda: None,
        on_sent: Callable[[Address, str, Value, str], None] = lambda listener, address, value, origin: None,
    ) -> None:
        self._transmit, self._metrics, self._on_change, self._on_sent = transmit, metrics, on_change, on_sent
        self._interval = 1.0 / rate
        self._throttle = LogThrottle(log, metrics)
        self._subscribers: dict[Address, Subscriber] = {}  # by listener
        self._expiries: dict[Address, asyncio.TimerHandle] = {}
        self._listeners: dict[Address, Address] = {}  # listener by the source of its subscription
        self._by_host: dict[str, dict[Address, None]] = {}  # listeners
        self._encoded: dict[str, tuple[Value, bytes]] = {}  # the last message at each address
        self._queues: dict[Address, dict[str, _Message]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed = -math.inf

    def __len__(self) -> int:
        return len(self._subscribers)

    def by_listener(self) -> dict[Address, Subscriber]:
        """Return a copy of the subscribers, by the address they listen on."""
        return dict(self._subscribers)

    def namespaces(self) -> set[str]:
        """Return the namespaces that at least one subscriber receives."""
        return {namespace for subscriber in self._subscribers.values() for namespace in subscriber.namespaces}

    def add(self, listener: Address, subscriber: Subscriber) -> bool:
        """Add or renew a subscriber. Return False (counted) if MAX_SUBSCRIBERS is reached."""
        if listener not in self._subscribers and not self._has_room(listener.host, subscriber.seconds < math.inf):
            self._throttle.warn(
                "osc/refused", f"OSC: the subscription of {listener} is refused: there are {MAX_SUBSCRIBERS} already, "
                f"or {listener.host} has too many")
            return False
        self._remove(listener)
        self._subscribers[listener] = subscriber
        self._listeners[subscriber.source] = listener
        self._by_host.setdefault(listener.host, {})[listener] = None
        if subscriber.seconds < math.inf:
            loop = asyncio.get_running_loop()
            self._expiries[listener] = loop.call_later(subscriber.seconds, self._expire, listener)
        self._on_change()
        return True

    def _has_room(self, host: str, is_limited: bool) -> bool:
        """Whether a host may have one more. The network leaves some for this machine, and a host some for others."""
        if not is_limited or not is_open(host):
            return len(self._subscribers) < MAX_SUBSCRIBERS
        others = sum(len(each) for known, each in self._by_host.items() if is_open(known))
        return len(self._by_host.get(host, ())) < MAX_OF_HOST and others < MAX_SUBSCRIBERS - KEPT_HERE

    def remove(self, listener: Address) -> None:
        """Remove a subscriber, if there is one, and its waiting messages."""
        self._queues.pop(listener, None)
        if self._remove(listener):
            self._on_change()

    def _expire(self, listener: Address) -> None:
        self._metrics.count("osc/feedback/expired")
        self.remove(listener)

    def _remove(self, listener: Address) -> bool:
        subscriber = self._subscribers.pop(listener, None)
        if subscriber is None:
            return False
        if self._listeners.get(subscriber.source) == listener:
            del self._listeners[subscriber.source]
        listeners = self._by_host[listener.host]
        del listeners[listener]
        if not listeners:
            del self._by_host[listener.host]
        expiry = self._expiries.pop(listener, None)
        if expiry is not None:
            expiry.cancel()
        return True

    def origin(self, source: Address) -> str:
        """Return the origin of a source's changes: the address of its subscriber if it has one, else its own."""
        return _origin_of(self._listeners.get(source, source))

    def peers(self, source: Address) -> tuple[Address, ...]:
        """Return the listeners that a source can be: its own, or all of its host if it has not subscribed."""
        listener = self._listeners.get(source, source)
        if listener in self._subscribers:
            return (listener,)
        return (source, *self._by_host.get(source.host, ()))

    def publish(self, address: str, value: Value, origin: str = "", namespace: str = OWN_NAMESPACE) -> None:
        """Queue a message for every subscriber of a namespace, except the subscriber that is the origin."""
        for listener, subscriber in self._subscribers.items():
            # An older value that waits for the origin itself would arrive after its own change: replace it.
            outdated = address in self._queues.get(listener, ())
            if namespace in subscriber.namespaces and (outdated or self.origin(listener) != origin):
                self.send(listener, address, value, origin=origin)

    def reply(self, asker: Address, address: str, value: Value) -> None:
        """Queue a message for the address that a question came from, and for every subscriber on that host."""
        asked_before = address in self._queues.get(asker, ())
        others = () if asked_before else (known for known in self._subscribers if known[0] == asker[0])
        for listener in {asker, *others}:
            self.answer(listener, address, value)

    def answer(self, listener: Address, address: str, value: Value, key: str = "") -> None:
        """Queue a message for an address that need not be a subscriber's; it is dropped if too many wait."""
        if listener in self._queues or listener in self._subscribers or len(self._queues) < MAX_QUEUES:
            self.send(listener, address, value, key)
        else:
            self._metrics.count("osc/feedback/dropped")

    def send(self, listener: Address, address: str, value: Value, key: str = "", origin: str = "") -> None:
        """Queue a message for one listener, in place of one that waits under the same key; the address is the key."""
        packet = self._encode(address, value)
        if packet:
            self._queues.setdefault(listener, {})[key or address] = _Message(packet, address, value, origin)
        if self._timer is None:
            self._arm()

    def close(self) -> None:
        """Remove all subscribers and waiting messages."""
        for expiry in self._expiries.values():
            expiry.cancel()
        for entries in (self._subscribers, self._listeners, self._by_host, self._expiries, self._queues):
            entries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _encode(self, address: str, value: Value) -> bytes:
        """Encode a message; return b"" (counted) if OSC cannot encode the value.

        A bool is sent as 0 or 1, because not every receiver knows the type tags T and F.
        """
        last, packet = self._encoded.get(address, (None, b""))
        if value != last:
            try:
                packet = encode(address, [int(value) if isinstance(value, bool) else value])
            except LcmDaemonError as error:
                self._throttle.warn("osc/feedback/failed", f"{error}; subscribers do not receive it")
                packet = b""
            self._encoded[address] = value, packet
        return packet

    def _flush(self) -> None:
        """Send one batch, listener by listener. A listener with messages left moves to the end of the queue."""
        left = FLUSH_MESSAGES
        while self._queues and left:
            listener = next(iter(self._queues))
            messages = self._queues.pop(listener)
            for address in list(itertools.islice(messages, left)):
                self._send_now(messages.pop(address), listener)
                left -= 1
            if messages:
                self._queues[listener] = messages
        self._flushed, self._timer = asyncio.get_running_loop().time(), None
        if self._queues:
            self._arm()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._flushed + self._interval - loop.time()), self._flush)

    def _send_now(self, message: _Message, listener: Address) -> None:
        try:
            self._transmit(message.packet, listener)
        except OSError as error:
            self._throttle.warn("osc/feedback/failed", f"OSC: cannot send to {listener}: {error}; the message is lost")
            return
        self._on_sent(listener, message.address, message.value, message.origin)
