"""OSC over UDP and TCP: sets parameters, runs commands, answers questions, sends changes and status to subscribers.

    /lcm/<parameter> value      set it: the first argument counts, further arguments are ignored
    /lcm/prompt t1 w1 t2 w2     several texts with their weights: "ocean" 0.7 "lava" 0.3
    /lcm/<parameter>            ask for its value
    /lcm/<command>              run a command (panic); the argument 0 or false is a released button and does nothing
    /lcm/<command> values       run a command with arguments (recipe <name>, size <width> <height>)
    /lcm/get [name]             ask for one parameter, or without a name for all values
    /lcm/subscribe [port [seconds [namespaces]]]    receive all values now and every change later: on that port of
    /lcm/unsubscribe [port]     the sender's host or, without a port (or with 0), at the address the message came from

A pattern (`/lcm/s*`) reaches parameters, but no commands or subscriptions. The messages of a bundle wait for its time
tag (timetags.py). A reply goes to the address that the question came from, and to every subscriber on that host.

A subscription expires after `seconds` (default 60) unless the same message is sent again. A subscription over TCP
without a port lasts as long as its connection. Subscribers receive `/lcm/<parameter> value` for every change but their
own, and `/lcm/status/<name> value` for the status. The namespaces, separated by spaces, choose other addresses: `lcm`
is these, `map` the show's own, a profile's name (such as `streamdiffusiontd`) that profile's.

When the recipe changes, the addresses of its parameters change with it, and every subscriber receives all values.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.allowlist import Allowlist
from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.osc.address_pattern import AddressMap
from lcm_daemon.controllers.osc.aliases import OWN_NAMESPACE, Alias, Aliases, MapEntry
from lcm_daemon.controllers.osc.options import FIELDS
from lcm_daemon.controllers.osc.subscribers import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    Subscriber,
    Subscribers,
    parse_endpoint,
)
from lcm_daemon.controllers.osc.tcp import TcpServer
from lcm_daemon.controllers.osc.timetags import TimetagQueue
from lcm_daemon.controllers.osc.udp import Address, UdpSocket
from lcm_daemon.controllers.osc_protocol.dispatch import ROOT, run_command, set_parameter
from lcm_daemon.controllers.osc_protocol.packet_check import IMMEDIATELY, MalformedPacket, check_packet
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Fields, nearest

log = logging.getLogger(__name__)

MAX_LOGGED_UNKNOWN = 32  # unknown addresses that are logged, once each; further ones are only counted

Handler = Callable[[Sequence[Any], Address], None]


class Osc(Controller):
    """The OSC controller. No packet raises, blocks or fills the log; rejected packets are counted under "osc/"."""

    on_by_default: ClassVar[bool] = True
    fields: ClassVar[Fields] = FIELDS

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        super().__init__(controls, options)
        self._metrics, self._throttle = controls.metrics, LogThrottle(log, controls.metrics)
        self._allowlist = Allowlist(self.options["allow"])
        self._subscribers = Subscribers(
            self._transmit, controls.metrics, self.options["feedback_rate"], self._keep_subscribers)
        self._postponed = TimetagQueue(self._handle_message, controls.metrics)
        self._build_addresses()
        self._status: dict[str, Value] = {}
        self._logged_unknown: set[str] = set()
        self._sockets: list[UdpSocket] = []
        self._tcp: TcpServer | None = None
        self._receiving: dict[UdpSocket, asyncio.Task[None]] = {}

    @property
    def ports(self) -> list[int]:
        """The listening UDP ports; empty before the start."""
        return [udp.port for udp in self._sockets]

    @property
    def port(self) -> int:
        """The first listening UDP port, which sends the feedback; 0 before the start."""
        return self.ports[0] if self._sockets else 0

    @property
    def tcp_port(self) -> int:
        """The listening TCP port, or 0."""
        return self._tcp.port if self._tcp else 0

    async def start(self) -> None:
        """Bind the ports, send all values to the show's subscribers, and start receiving.

        Raises:
            LcmDaemonError: A port cannot be bound, or a subscriber of the show is this controller itself.
        """
        if self._sockets:
            return
        ports = self.options["ports"] or (self.options["port"],)
        fixed = {parse_endpoint(each.endpoint, "127.0.0.1"): each.namespaces for each in self.options["feedback"]}
        for listener in fixed:
            if self._is_own_port(listener, ports):
                raise LcmDaemonError(f"OSC: osc.feedback names port {listener.port}, which is osc.port itself")
        try:
            await self._open(ports)
        except LcmDaemonError:
            await self._close()
            raise
        self._unsubscribe_controls = self.controls.subscribe(
            on_changes=self._on_changes, on_status=self._on_status, on_table=self._on_table,
            on_panic=self._postponed.clear)
        self._warn_of_unknown_targets()
        for listener, namespaces in fixed.items():
            self._add_subscriber(listener, Subscriber(listener, namespaces))
        for listener, subscriber in self.controls.kept.get("osc", {}).items():  # those of the desk before a restart
            self._add_subscriber(listener, subscriber)
        for udp in self._sockets:
            self._receive(udp)
        listening = ", ".join(f"UDP {port}" for port in self.ports) + (f", TCP {self.tcp_port}" if self._tcp else "")
        log.info("OSC: listening on %s: %s", self.options["host"], listening)

    async def stop(self) -> None:
        if not self._receiving:
            return
        self._unsubscribe_controls()
        self._subscribers.close()
        self._postponed.clear()
        await self._close()

    async def _open(self, ports: Sequence[int]) -> None:
        for port in ports:
            self._sockets.append(UdpSocket(self.options["host"], port, self._metrics))
        if self.options["tcp"] is not None:
            self._tcp = TcpServer(self._handle_packet, self._allowlist.allows, self._subscribers.remove, self._metrics)
            await self._tcp.open(self.options["host"], self.options["tcp"])

    async def _close(self) -> None:
        receiving, self._receiving = list(self._receiving.values()), {}
        for task in receiving:
            task.cancel()
        await asyncio.gather(*receiving, return_exceptions=True)
        for udp in self._sockets:
            udp.close()
        self._sockets.clear()
        tcp, self._tcp = self._tcp, None
        if tcp is not None:
            await tcp.close()

    # Receiving

    def _receive(self, udp: UdpSocket) -> None:
        self._receiving[udp] = asyncio.create_task(udp.receive_forever(self._handle_packet), name=f"osc {udp.port}")
        self._receiving[udp].add_done_callback(functools.partial(self._on_receiver_end, udp))

    def _on_receiver_end(self, udp: UdpSocket, ended: asyncio.Task[None]) -> None:
        """Receive again after a defect in a handler: it costs one packet, not the port."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            self._throttle.warn("osc/failed", f"OSC: {type(error).__name__}: {error}; the packet is dropped")
            self._receive(udp)

    def _handle_packet(self, packet: bytes, source: Address) -> Iterator[None]:
        """Handle the messages of a packet, one per step."""
        if not self._allowlist.allows(source.host):
            self._throttle.warn(
                "osc/denied", f"OSC: {source.host} is not in osc.allow; packets from {source} are ignored")
            return
        try:
            checked = check_packet(packet)
        except MalformedPacket as reason:
            self._throttle.warn("osc/malformed", f"OSC: malformed packet from {source}: {reason}; it is ignored")
            return
        for fault in checked.faults:
            self._throttle.warn("osc/malformed", f"OSC: packet from {source}: {fault}")
        for message, timetag in checked.messages:
            if timetag == IMMEDIATELY or not self._postponed.postpone(message, timetag, source):
                self._handle_message(message, source)
            yield

    def _handle_message(self, message: bytes, source: Address) -> None:
        address = message[:message.index(0)].decode("ascii")
        handlers = self._addresses.find(address)
        if not handlers:
            self._count_unknown(address, source)
            return
        arguments = OscMessage(message).params
        for handler in handlers:
            try:
                handler(arguments, source)
            except Refused as reason:
                self._throttle.warn("osc/refused", f"OSC: {address} from {source} is refused: {reason}")

    def _count_unknown(self, address: str, source: Address) -> None:
        self._metrics.count("osc/unknown")
        if len(self._logged_unknown) < MAX_LOGGED_UNKNOWN and address not in self._logged_unknown:
            self._logged_unknown.add(address)
            log.warning("OSC: unknown address %r from %s%s", address, source, nearest(address, self._handlers))

    # Handlers by address

    def _build_addresses(self) -> None:
        entries: Sequence[MapEntry] = self.options["map"]
        self._aliases = Aliases(self.options["profiles"], entries, self.controls.table, self.controls.commands)
        self._handlers = self._build_handlers()
        parameters = {ROOT + name: self._handlers[ROOT + name] for name in self.controls.table}
        self._addresses = AddressMap(self._handlers, parameters)

    def _build_handlers(self) -> dict[str, Handler]:
        return {
            **{address: functools.partial(self._on_alias, aliases)
               for address, aliases in self._aliases.targets.items()},
            ROOT + "get": self._on_get,
            ROOT + "subscribe": self._on_subscribe,
            ROOT + "unsubscribe": self._on_unsubscribe,
            **{ROOT + name: functools.partial(self._on_command, name) for name in self.controls.commands},
            **{ROOT + name: functools.partial(self._on_parameter, name) for name in self.controls.table},
        }

    def _warn_of_unknown_targets(self) -> None:
        """Log targets of the map that do not exist now. They may come with another recipe, or be a typing error."""
        known = {*self.controls.table, *self.controls.commands}
        for entry in self.options["map"]:
            if entry.to not in known:
                log.warning("OSC: osc.map: %s does nothing now: unknown parameter or command %r%s",
                            entry.address, entry.to, nearest(entry.to, sorted(known)))

    def _on_parameter(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        if arguments:
            set_parameter(self.controls, name, arguments, self._subscribers.origin(source))
        else:
            self._subscribers.reply(source, ROOT + name, self.controls.values[name])

    def _on_command(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        run_command(self.controls, name, arguments, self._subscribers.origin(source))

    def _on_alias(self, aliases: Sequence[Alias], arguments: Sequence[Any], source: Address) -> None:
        for alias in aliases:
            if alias.to not in self.controls.table:
                self._on_command(alias.to, arguments, source)
            elif arguments or alias.trigger:
                set_parameter(self.controls, alias.to, alias.read(arguments), self._subscribers.origin(source))
            else:
                value = alias.write(self.controls.values[alias.to])
                if value is not None:
                    self._subscribers.reply(source, alias.address, value)

    def _on_get(self, arguments: Sequence[Any], source: Address) -> None:
        known = self._all_values()
        wanted = [ROOT + str(arguments[0])[:80]] if arguments else list(known)
        for address in wanted:
            if address in known:
                self._subscribers.reply(source, address, known[address])
            else:
                self._count_unknown(address, source)

    def _on_subscribe(self, arguments: Sequence[Any], source: Address) -> None:
        listener = self._read_listener(arguments, source)
        before = self._subscribers.by_listener().get(listener)
        namespaces: tuple[str, ...] = (OWN_NAMESPACE,)
        if len(arguments) > 2:
            namespaces = self._read_namespaces(arguments[2])
        elif before is not None:
            namespaces = tuple(before.namespaces)
        seconds = DEFAULT_LIFETIME
        if listener.tcp or (before is not None and before.seconds == math.inf):
            seconds = math.inf
        elif len(arguments) > 1:
            seconds = _read_lifetime(arguments[1])
        self._add_subscriber(listener, Subscriber(source, namespaces, seconds))

    def _on_unsubscribe(self, arguments: Sequence[Any], source: Address) -> None:
        self._subscribers.remove(self._read_listener(arguments, source))

    def _read_listener(self, arguments: Sequence[Any], source: Address) -> Address:
        """The listener of a subscription: a port of the sender's host, and not this controller. Raises Refused."""
        try:
            named = bool(arguments) and (len(arguments) == 1 or arguments[0] != 0)
            listener = parse_endpoint(arguments[0], source.host) if named else source
        except LcmDaemonError as error:
            raise Refused(str(error)) from error
        if listener.host != source.host or self._is_own_port(listener, self.ports):
            raise Refused(f"{listener} is not a port of the sender's host, or is this daemon's own port")
        return listener

    def _is_own_port(self, listener: Address, ports: Sequence[int]) -> bool:
        host = self.options["host"]
        reached = listener.host == host or (host == "0.0.0.0" and listener.host.startswith("127."))
        return reached and listener.port in ports and not listener.tcp

    def _read_namespaces(self, value: Any) -> tuple[str, ...]:
        namespaces = tuple(dict.fromkeys(str(value)[:200].split()))
        known = (OWN_NAMESPACE, *self._aliases.namespaces)
        if not namespaces or not set(known).issuperset(namespaces):
            raise Refused(f"a subscription can name the addresses of {', '.join(known)}, not {value!r:.80}")
        return namespaces

    # Feedback

    def _add_subscriber(self, listener: Address, subscriber: Subscriber) -> None:
        if self._subscribers.add(listener, subscriber):
            for namespace in subscriber.namespaces:
                for address, value in self._all_values(namespace).items():
                    self._subscribers.send(listener, address, value)

    def _keep_subscribers(self) -> None:
        """Keep the subscribers for the next desk process. TCP subscribers are not kept: their connection ends."""
        lasting = {listener: who for listener, who in self._subscribers.by_listener().items() if not listener.tcp}
        self.controls.keep_for_restart("osc", lasting)

    def _all_values(self, namespace: str = OWN_NAMESPACE) -> dict[str, Value]:
        values = dict(
            pair for name, value in self.controls.values.items() for pair in self._feedback(name, value, namespace))
        status = self.controls.status.items() if namespace == OWN_NAMESPACE else ()
        return values | {f"{ROOT}status/{name}": value for name, value in status}

    def _feedback(self, name: str, value: Value, namespace: str) -> Iterator[tuple[str, Value]]:
        """Address and argument of each feedback message for a parameter's value in one namespace."""
        if namespace == OWN_NAMESPACE:
            yield ROOT + name, value
        else:
            yield from self._aliases.feedback(name, value, namespace)

    def _publish(self, name: str, value: Value, origin: str = "") -> None:
        for namespace in self._subscribers.namespaces():
            for address, argument in self._feedback(name, value, namespace):
                self._subscribers.publish(address, argument, origin, namespace)

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._publish(change.name, change.value, change.origin)

    def _on_table(self) -> None:
        self._build_addresses()
        for name, value in self.controls.values.items():
            self._publish(name, value)

    def _on_status(self, status: Mapping[str, Value]) -> None:
        for name, value in status.items():
            if self._status.get(name) != value:
                self._subscribers.publish(f"{ROOT}status/{name}", value)
        self._status = dict(status)

    def _transmit(self, packet: bytes, listener: Address) -> None:
        if listener.tcp and self._tcp is not None:
            self._tcp.send(packet, listener)
        elif self._sockets and not listener.tcp:
            self._sockets[0].send(packet, listener)


def _read_lifetime(value: Any) -> float:
    """Seconds of a subscription. Raises Refused if the value is not a positive, finite number."""
    if isinstance(value, int | float) and 0 < value < math.inf:
        return min(float(value), MAX_LIFETIME)
    raise Refused(f"{value!r:.80} is not the lifetime of a subscription in seconds")
