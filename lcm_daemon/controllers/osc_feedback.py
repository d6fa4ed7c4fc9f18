"""Feedback: who is told of changes over OSC, and the messages on their way there.

A subscriber is a host and the port it listens on. Most programs send from another port than they listen on, so a
subscriber is also known by the address its subscription came from: what comes from either of the two is the
subscriber's own, and is not echoed to it. A source that subscribed several ports speaks for the last of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from lcm_daemon.controllers.osc_send import encode
from lcm_daemon.controllers.udp import Address
from lcm_daemon.errors import LcmDaemonError
from lcm_daemon.health import Health, Seldom
from lcm_daemon.parameters import Value

log = logging.getLogger(__name__)

SUBSCRIBERS = 64
INTERVAL = 0.005  # seconds that messages are gathered before they leave; of several to one address the newest counts
BURST = 128  # messages that leave at a time
WAITING = 2 * SUBSCRIBERS  # listeners with messages waiting, beyond which no stranger's question is answered

_HOSTS: Mapping[str, str] = {"localhost": "127.0.0.1"}


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
    return address, int(number)


class Feedback:
    """The subscribers and their outbox. `transmit` sends one packet, and raises OSError where it cannot."""

    def __init__(self, transmit: Callable[[bytes, Address], object], health: Health) -> None:
        self._transmit, self._health = transmit, health
        self._seldom = Seldom(log, health)
        self._subscribers: dict[Address, Address] = {}  # where one listens: where its subscription came from
        self._speakers: dict[Address, Address] = {}  # the same, the other way about
        self._encoded: dict[str, tuple[Value, bytes]] = {}  # the last message at each address
        self._outbox: dict[Address, dict[str, bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribers(self) -> dict[Address, Address]:
        """Where each one listens, and where its subscription came from."""
        return dict(self._subscribers)

    def subscribe(self, listener: Address, source: Address) -> bool:
        """Add a subscriber, or learn its new source; False (counted) where there are SUBSCRIBERS already."""
        if listener not in self._subscribers and len(self._subscribers) >= SUBSCRIBERS:
            self._seldom.warn("osc/refused", f"OSC subscriber {_text(listener)} refused: there are {SUBSCRIBERS}")
            return False
        self.unsubscribe(listener)
        self._subscribers[listener] = source
        self._speakers[source] = listener
        return True

    def unsubscribe(self, listener: Address) -> None:
        """Forget a subscriber, if it is one, and what waits for it."""
        source = self._subscribers.pop(listener, None)
        if source is not None and self._speakers.get(source) == listener:
            del self._speakers[source]
        self._outbox.pop(listener, None)

    def origin(self, source: Address) -> str:
        """The name under which a source's changes go: its subscriber's where it has one, else its own."""
        return f"osc/{_text(self._speakers.get(source, source))}"

    def tell(self, address: str, value: Value, origin: str = "") -> None:
        """Send to every subscriber but the one called `origin`."""
        for listener in self._subscribers:
            overtaken = address in self._outbox.get(listener, ())  # another's older value must not come after its own
            if self.origin(listener) != origin or overtaken:
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
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._flush)

    def close(self) -> None:
        """Send nothing more."""
        self._outbox.clear()
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
                self._seldom.warn("osc/feedback/failed", str(error))
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
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._flush) if self._outbox else None

    def _post(self, packet: bytes, listener: Address) -> None:
        try:
            self._transmit(packet, listener)
        except OSError as error:
            self._seldom.warn("osc/feedback/failed", f"OSC to {_text(listener)}: {error}")


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
