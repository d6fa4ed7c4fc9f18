"""OSC over UDP and TCP: sets parameters, runs commands, answers questions, sends changes and status to subscribers.

    /lcm/<parameter> value      set it: the first argument counts, further arguments are ignored
    /lcm/prompt t1 w1 t2 w2     several texts with their weights: "ocean" 0.7 "lava" 0.3
    /lcm/<parameter>            ask for its value
    /lcm/fader/<parameter> x    set it by the position of a fader: 0 to 1 is its range
    /lcm/<command>              run a command (panic); the argument 0 or false is a released button and does nothing
    /lcm/<command> values       run a command with arguments (recipe <name>, size <width> <height>)
    /lcm/get [name]             ask for one parameter, or without a name for all values
    /lcm/sync [number]          ask for it back once everything that was sent before has been carried out or refused
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.allowlist import Allowlist
from lcm_daemon.controllers.base import LIVE, Controller
from lcm_daemon.controllers.echo_gate import EchoGate, sent_value
from lcm_daemon.controllers.osc.address_pattern import AddressMap
from lcm_daemon.controllers.osc.error_reports import ErrorReports
from lcm_daemon.controllers.osc.map_owner import OscMapOwner, warn_of_unknown_targets
from lcm_daemon.controllers.osc.options import FIELDS
from lcm_daemon.controllers.osc.planning import Planner
from lcm_daemon.controllers.osc.reception import Reception
from lcm_daemon.controllers.osc.subscribers import Subscriber, Subscribers, parse_endpoint
from lcm_daemon.controllers.osc.subscription import is_own_port, read_listener, read_subscriber
from lcm_daemon.controllers.osc.tcp import TcpServer
from lcm_daemon.controllers.osc.timetags import TimetagQueue
from lcm_daemon.controllers.osc.udp import Address, UdpSocket
from lcm_daemon.controllers.osc_protocol.aliases import OWN_NAMESPACE, Alias, Aliases, MapEntry, use_alias
from lcm_daemon.controllers.osc_protocol.dispatch import is_question, run_command, set_parameter, status_values
from lcm_daemon.controllers.osc_protocol.fader_aliases import fader_aliases
from lcm_daemon.controllers.osc_protocol.moves import MoveKeys
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.osc_names import ERROR, ROOT, STATUS, SYNC
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.rate_limit import RateLimit
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Fields

log = logging.getLogger(__name__)

GETS_A_SECOND = 100  # questions for all values, or one, of one host that are answered: each costs as much as 30 moves
Handler = Callable[[Sequence[Any], Address], None]


class Osc(Controller):
    """The OSC controller. No packet raises, blocks or fills the log; rejected packets are counted under "osc/"."""

    on_by_default: ClassVar[bool] = True
    fields: ClassVar[Fields] = FIELDS

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        super().__init__(controls, options)
        self._metrics, self._throttle = controls.metrics, LogThrottle(log, controls.metrics)
        self._allowlist = Allowlist(controls.network.allow, self.options["allow"])
        self._subscribers = Subscribers(
            self._transmit, controls.metrics, self.options["feedback_rate"], self._keep_subscribers, self._on_sent)
        self._echoes, self._get_limit = EchoGate(), RateLimit(GETS_A_SECOND)
        self._errors = ErrorReports(self._subscribers, controls.metrics, report=controls.report_refusal)
        self._postponed = TimetagQueue(
            self._handle_message, controls.metrics, mode=self.options["time_tags"],
            plan=lambda message: self._planner.plan(message))
        self._build_addresses()
        self._reception = Reception(
            self._allowlist, self._errors, self._postponed, self._handle_message,
            lambda message: self._move_keys.key(message), controls.metrics, lambda: controls.is_full, controls.packets)
        self._owner = OscMapOwner(controls.learning, self.options["map"], lambda: self.controls.table,
                                  lambda: self._aliases.targets, self._use_entries)
        self._status: dict[str, Value] = {}
        self._is_live = self.options["report"] == LIVE
        self._movers: dict[str, str] = {}  # origin of the last change by parameter; only for live reports
        self._sockets: list[UdpSocket] = []
        self._tcp: TcpServer | None = None

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
            if is_own_port(listener, self.options["host"], ports):
                raise LcmDaemonError(f"OSC: osc.feedback names port {listener.port}, which is osc.port itself")
        try:
            await self._open(ports)
        except LcmDaemonError:
            await self._close()
            raise
        self._unsubscribe_controls = self.controls.subscribe(
            on_changes=self._on_changes, on_status=self._on_status, on_table=self._on_table,
            on_panic=self._on_panic, on_refusal=self._errors.on_refusal,
            on_moving=self._on_moving if self._is_live else None)
        warn_of_unknown_targets(self.options["map"], {*self.controls.table, *self.controls.commands})
        self.controls.learning.register(self._owner)
        for listener, namespaces in fixed.items():
            self._add_subscriber(listener, Subscriber(listener, namespaces))
        for listener, subscriber in self.controls.kept.get("osc", {}).items():  # those of the desk before a restart
            self._add_subscriber(listener, subscriber)
        self._reception.start(self.controls.packets.inherited)
        for udp in self._sockets:
            udp.start(self._reception.receive)
        listening = ", ".join(f"UDP {port}" for port in self.ports) + (f", TCP {self.tcp_port}" if self._tcp else "")
        log.info("OSC: listening on %s: %s", self.options["host"], listening)

    async def stop(self) -> None:
        if not self._sockets:
            return
        self._unsubscribe_controls()
        self._owner.close()
        self._subscribers.close()
        self._on_panic()
        await self._close()

    async def _open(self, ports: Sequence[int]) -> None:
        for port in ports:
            self._sockets.append(UdpSocket(self.options["host"], port, self._metrics, self.controls.sockets))
        if self.options["tcp"] is not None:
            self._tcp = TcpServer(
                self._reception.intake, self._allowlist.allows, self._subscribers.remove, self._metrics,
                self.controls.sockets)
            self._reception.on_failed = self._tcp.drop
            await self._tcp.open(self.options["host"], self.options["tcp"])

    async def _close(self) -> None:
        await self._reception.stop()
        sockets, self._sockets = self._sockets, []
        await asyncio.gather(*(udp.stop() for udp in sockets))
        tcp, self._tcp = self._tcp, None
        if tcp is not None:
            await tcp.close()

    # Receiving

    def _handle_message(self, message: bytes, source: Address) -> None:
        address = message[:message.index(0)].decode("ascii")
        self.controls.activity.note("osc", address, source.host)
        handlers = self._addresses.find(address)
        if self._owner.collect(address, arguments := OscMessage(message).params):
            return
        if not handlers:
            self._handle_other(address, arguments, source)
        for handler in handlers:
            self._act(address, source, handler, arguments, source)

    def _handle_other(self, address: str, arguments: Sequence[Any], source: Address) -> None:
        """Answer a question for the status. Reports that a peer sends back are ignored: they would circle."""
        if not address.startswith((STATUS, ERROR)):
            self._errors.on_unknown(address, source, self._handlers)
        elif is_question(arguments):
            self._on_get([address.removeprefix(ROOT)], source)
        else:
            self._metrics.count("osc/reflected")

    # Handlers by address

    def _build_addresses(self) -> None:
        entries: Sequence[MapEntry] = self.options["map"]
        self._aliases = Aliases(self.options["profiles"], entries, self.controls.table, self.controls.commands)
        aliases = {**fader_aliases(self.controls.table), **self._aliases.targets}
        self._handlers = self._build_handlers(aliases)
        parameters = {ROOT + name: self._handlers[ROOT + name] for name in self.controls.table}
        self._addresses = AddressMap(self._handlers, parameters)
        self._planner = Planner(self.controls.table, aliases)
        self._move_keys = MoveKeys(self.controls.table, aliases)

    def _build_handlers(self, aliases: Mapping[str, Sequence[Alias]]) -> dict[str, Handler]:
        return {
            **{address: functools.partial(self._on_alias, own) for address, own in aliases.items()},
            ROOT + "get": self._on_get,
            SYNC: self._on_sync,
            ROOT + "subscribe": self._on_subscribe,
            ROOT + "unsubscribe": self._on_unsubscribe,
            **{ROOT + name: functools.partial(self._on_command, name) for name in self.controls.commands},
            **{ROOT + name: functools.partial(self._on_parameter, name) for name in self.controls.table},
        }

    def _use_entries(self, entries: Sequence[MapEntry]) -> None:
        """Use other entries of `osc.map`."""
        self.options["map"] = entries
        self._build_addresses()

    def _on_parameter(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        address = ROOT + name
        if is_question(arguments):
            self._subscribers.reply(source, address, self._reported(name, self.controls.values[name]))
            return
        origin = self._subscribers.origin(source)
        given = (self.controls, name, arguments, origin)
        if not self._echoes.has_reported(address) or self._is_move(
            address, arguments, source, origin, set_parameter, *given
        ):
            if self._postponed:
                self._postponed.cancel(name)
            set_parameter(*given)

    def _is_move(
        self, address: str, arguments: Sequence[Any], source: Address, origin: str, act: Callable[..., None],
        *given: Any,
    ) -> bool:
        """Whether to act at once: the message is not what the peer was sent. In doubt `act(*given)` is called later."""
        if self._echoes.is_move(self._subscribers.peers(source), origin, address, sent_value(arguments),
                                self._act, address, source, act, *given):
            return True
        self._metrics.count("osc/reflected")
        return False

    def _act(self, address: str, source: Address, act: Callable[..., None], *given: Any) -> None:
        try:
            act(*given)
        except Refused as reason:
            self._errors.on_refused(address, source, str(reason))

    def _on_command(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        run_command(self.controls, name, arguments, self._subscribers.origin(source))

    def _on_alias(self, aliases: Sequence[Alias], arguments: Sequence[Any], source: Address) -> None:
        origin = self._subscribers.origin(source)
        given = (aliases, arguments, source, origin)
        if is_question(arguments) or self._is_move(
            aliases[0].address, arguments, source, origin, self._act_on_alias, *given
        ):
            self._act_on_alias(*given)

    def _act_on_alias(
        self, aliases: Sequence[Alias], arguments: Sequence[Any], source: Address, origin: str
    ) -> None:
        for alias in aliases:
            if self._postponed and not is_question(arguments):
                self._postponed.cancel(alias.to)
            answer = use_alias(
                self.controls, alias, arguments, origin, lambda name: self._reported(name, self.controls.values[name]))
            if answer is not None:
                self._subscribers.reply(source, alias.address, answer)

    def _on_get(self, arguments: Sequence[Any], source: Address) -> None:
        if not self._get_limit.allows(source.host):
            self._metrics.count("osc/feedback/dropped")
            return
        known = self._all_values()
        wanted = [ROOT + str(arguments[0])[:80]] if arguments else list(known)
        for address in wanted:
            if address in known:
                self._subscribers.reply(source, address, known[address])
            else:
                self._errors.on_unknown(address, source, known)

    def _on_sync(self, arguments: Sequence[Any], source: Address) -> None:
        """Send the argument back once everything that came before has been carried out or refused."""
        token = next((each for each in arguments if isinstance(each, int | float | str)), 0)
        self.controls.when_handled(lambda: self._subscribers.answer(source, SYNC, token, key=f"{SYNC} {token!r:.80}"))

    def _on_subscribe(self, arguments: Sequence[Any], source: Address) -> None:
        listener = read_listener(arguments, source, self.options["host"], self.ports)
        before = self._subscribers.by_listener().get(listener)
        self._add_subscriber(
            listener, read_subscriber(arguments, source, listener, before, self._aliases.namespaces))

    def _on_unsubscribe(self, arguments: Sequence[Any], source: Address) -> None:
        self._subscribers.remove(read_listener(arguments, source, self.options["host"], self.ports))

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
            pair for name, value in self.controls.values.items()
            for pair in self._feedback(name, self._reported(name, value), namespace))
        return values | (status_values(self.controls) if namespace == OWN_NAMESPACE else {})

    def _feedback(self, name: str, value: Value, namespace: str) -> Iterator[tuple[str, Value]]:
        """Address and argument of each feedback message for a parameter's value in one namespace."""
        if namespace == OWN_NAMESPACE:
            yield ROOT + name, value
        else:
            yield from self._aliases.feedback(name, value, namespace)

    def _on_sent(self, listener: Address, address: str, value: Value, origin: str) -> None:
        """A value was sent. If the peer sends it back, that is not a move."""
        if not address.startswith((STATUS, ERROR)):
            self._echoes.report(listener, address, value, origin if origin.startswith("osc/") else "")

    def _publish(self, name: str, value: Value, origin: str = "") -> None:
        for namespace in self._subscribers.namespaces():
            for address, argument in self._feedback(name, value, namespace):
                self._subscribers.publish(address, argument, origin, namespace)

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._publish(change.name, self._reported(change.name, change.value), change.origin)
            if self._is_live:
                self._movers[change.name] = change.origin
            if self._postponed and not change.origin.startswith(("osc/", "cue/")):
                self._postponed.cancel(change.name)

    def _on_moving(self, values: Mapping[str, Value]) -> None:
        """Report values in force. The peer that has started a glide by a move of its own is not sent its way."""
        for name, value in values.items():
            self._publish(name, value, self._movers.get(name, "") if name in self.controls.moving.faded else "")

    def _reported(self, name: str, target: Value) -> Value:
        """What peers are sent as a parameter's value."""
        return self.controls.moving.in_force.get(name, target) if self._is_live else target

    def _on_panic(self) -> None:
        """Drop every move that waits."""
        self._postponed.clear()
        self._echoes.clear_waiting()

    def _on_table(self) -> None:
        self._echoes.clear_waiting()
        self._build_addresses()
        for name, value in self.controls.values.items():
            self._publish(name, self._reported(name, value))

    def _on_status(self, status: Mapping[str, Value]) -> None:
        found = status_values(self.controls)
        for address, value in found.items():
            if self._status.get(address) != value:
                self._subscribers.publish(address, value)
        self._status = found

    def _transmit(self, packet: bytes, listener: Address) -> None:
        if listener.tcp and self._tcp is not None:
            self._tcp.send(packet, listener)
        elif self._sockets and not listener.tcp:
            self._sockets[0].send(packet, listener)
