"""OSC over UDP and TCP: parameters, commands and questions in; changes and status out to subscribers.

    /lcm/<parameter> value      move it: the first argument counts, the rest is passed over
    /lcm/prompt t1 w1 t2 w2     several texts with their weights: "ocean" 0.7 "lava" 0.3
    /lcm/<parameter>            ask for it
    /lcm/<command>              a command (panic); with the argument 0 or false it is a button let go, and does nothing
    /lcm/<command> values       a command that takes something (recipe <name>, size <width> <height>)
    /lcm/get [name]             ask for one parameter, or without a name for everything
    /lcm/subscribe [port [seconds [words]]]     be told of everything, now and whenever it changes: on that port of
    /lcm/unsubscribe [port]     the sender's host or, without a port (or with 0), at the address the message came from

A pattern (`/lcm/s*`) reaches the parameters, never a command or a subscription. A bundle waits for its time tag
(osc_schedule.py). An answer goes to the address the question came from, and to every subscriber on that host.

A subscription ends after `seconds` (60 where none are given), unless the same message comes again; one over TCP
without a port lasts as long as its connection. Subscribers are told `/lcm/<parameter> value` for every change but their
own, and `/lcm/status/<name> value` for the status. The words say whose addresses they are told instead: `lcm` is these,
`map` the show's own, `streamdiffusiontd` (say) a profile's; several are divided by spaces.

When the recipe changes, the addresses of its parameters come and go with it, and every subscriber is told all values.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.osc.address_pattern import Addresses
from lcm_daemon.controllers.osc.aliases import Alias, Aliases, Mapped
from lcm_daemon.controllers.osc.allowlist import Senders
from lcm_daemon.controllers.osc.dispatch import ROOT, call, move
from lcm_daemon.controllers.osc.options import FIELDS, filled
from lcm_daemon.controllers.osc.packet_check import Malformed, check
from lcm_daemon.controllers.osc.subscribers import LIFETIME, LONGEST, OWN, Feedback, Subscriber, endpoint
from lcm_daemon.controllers.osc.tcp import Tcp
from lcm_daemon.controllers.osc.timetags import Schedule
from lcm_daemon.controllers.osc.udp import Address, Udp
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Fields, nearest

log = logging.getLogger(__name__)

STRANGERS = 32  # unknown addresses logged once each; others are counted

Handler = Callable[[Sequence[Any], Address], None]


class Osc(Controller):
    """The OSC controller. No packet raises, blocks or fills the log; what is refused is counted under "osc/"."""

    on_by_default: ClassVar[bool] = True
    fields: ClassVar[Fields] = FIELDS

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        super().__init__(controls)
        self.options = filled(options)
        self._health, self._throttle = controls.metrics, LogThrottle(log, controls.metrics)
        self._senders = Senders(self.options["allow"])
        self._feedback = Feedback(self._send, controls.metrics, self.options["feedback_rate"], self._keep)
        self._schedule = Schedule(self._carry_out, controls.metrics)
        self._set_up()
        self._status: dict[str, Value] = {}
        self._strangers: set[str] = set()
        self._udps: list[Udp] = []
        self._tcp: Tcp | None = None
        self._listening: dict[Udp, asyncio.Task[None]] = {}

    @property
    def ports(self) -> list[int]:
        """The UDP ports that listen; none before the start."""
        return [udp.port for udp in self._udps]

    @property
    def port(self) -> int:
        """The first of them, which feedback leaves from; 0 while none listens."""
        return self.ports[0] if self._udps else 0

    @property
    def tcp_port(self) -> int:
        """The TCP port that listens; 0 while none does."""
        return self._tcp.port if self._tcp else 0

    async def start(self) -> None:
        """Bind the ports, tell the show's subscribers everything, listen. LcmDaemonError where one cannot be bound."""
        if self._udps:
            return
        ports = self.options["ports"] or (self.options["port"],)
        fixed = {endpoint(each.endpoint, "127.0.0.1"): each.words for each in self.options["feedback"]}
        for listener in fixed:
            if self._is_itself(listener, ports):
                raise LcmDaemonError(f"OSC: osc.feedback names port {listener.port}, which is osc.port itself")
        try:
            await self._open(ports)
        except LcmDaemonError:
            await self._close()
            raise
        self._end_subscription = self.controls.subscribe(
            on_changes=self._hear, on_status=self._hear_status, on_table=self._hear_table, on_panic=self._schedule.clear
        )
        self._warn_of_targets()
        for listener, words in fixed.items():
            self._admit(listener, Subscriber(listener, words))
        for listener, subscriber in self.controls.kept.get("osc", {}).items():  # who had subscribed to an earlier desk
            self._admit(listener, subscriber)
        for udp in self._udps:
            self._listen(udp)
        heard = ", ".join(f"UDP {port}" for port in self.ports) + (f", TCP {self.tcp_port}" if self._tcp else "")
        log.info("OSC listens on %s: %s", self.options["host"], heard)

    async def stop(self) -> None:
        if not self._listening:
            return
        self._end_subscription()
        self._feedback.close()
        self._schedule.clear()
        await self._close()

    async def _open(self, ports: Sequence[int]) -> None:
        for port in ports:
            self._udps.append(Udp(self.options["host"], port, self._health))
        if self.options["tcp"] is not None:
            self._tcp = Tcp(self._take, self._senders.admits, self._feedback.unsubscribe, self._health)
            await self._tcp.open(self.options["host"], self.options["tcp"])

    async def _close(self) -> None:
        listening, self._listening = list(self._listening.values()), {}
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        for udp in self._udps:
            udp.close()
        self._udps.clear()
        tcp, self._tcp = self._tcp, None
        if tcp is not None:
            await tcp.close()

    # Receiving

    def _listen(self, udp: Udp) -> None:
        self._listening[udp] = asyncio.create_task(udp.listen(self._take), name=f"osc {udp.port}")
        self._listening[udp].add_done_callback(functools.partial(self._listen_on, udp))

    def _listen_on(self, udp: Udp, ended: asyncio.Task[None]) -> None:
        """A defect in one handler costs that packet, not the port."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            self._throttle.warn("osc/failed", f"OSC: {type(error).__name__}: {error}")
            self._listen(udp)

    def _take(self, packet: bytes, source: Address) -> Iterator[None]:
        """One step a message."""
        if not self._senders.admits(source.host):
            self._throttle.warn("osc/denied", f"OSC from {source} passed over: {source.host} is not in osc.allow")
            return
        try:
            messages = check(packet)
        except Malformed as reason:
            self._throttle.warn("osc/malformed", f"OSC packet from {source} refused: {reason}")
            return
        for message, tag in messages:
            if tag == 1 or not self._schedule.keep(message, tag, source):
                self._carry_out(message, source)
            yield

    def _carry_out(self, message: bytes, source: Address) -> None:
        address = message[:message.index(0)].decode("ascii")
        handlers = self._addresses.find(address)
        if not handlers:
            self._wonder(address, source)
            return
        arguments = OscMessage(message).params
        for handler in handlers:
            try:
                handler(arguments, source)
            except Refused as reason:
                self._throttle.warn("osc/refused", f"OSC {address} from {source} refused: {reason}")

    def _wonder(self, address: str, source: Address) -> None:
        self._health.count("osc/unknown")
        if len(self._strangers) < STRANGERS and address not in self._strangers:
            self._strangers.add(address)
            log.warning("OSC from %s: there is no %r%s", source, address, nearest(address, self._handlers))

    # What stands at the addresses

    def _set_up(self) -> None:
        mapped: Sequence[Mapped] = self.options["map"]
        self._aliases = Aliases(self.options["profiles"], mapped, self.controls.table, self.controls.commands)
        self._handlers = self._table()
        parameters = {ROOT + name: self._handlers[ROOT + name] for name in self.controls.table}
        self._addresses = Addresses(self._handlers, parameters)

    def _table(self) -> dict[str, Handler]:
        return {
            **{address: functools.partial(self._alias, aliases) for address, aliases in self._aliases.targets.items()},
            ROOT + "get": self._get,
            ROOT + "subscribe": self._subscribe,
            ROOT + "unsubscribe": self._unsubscribe,
            **{ROOT + name: functools.partial(self._command, name) for name in self.controls.commands},
            **{ROOT + name: functools.partial(self._parameter, name) for name in self.controls.table},
        }

    def _warn_of_targets(self) -> None:
        """The map's targets may come with a recipe, or may be a slip of the pen."""
        known = {*self.controls.table, *self.controls.commands}
        for entry in self.options["map"]:
            if entry.to not in known:
                log.warning("OSC: osc.map: %s moves %r, which is not there now%s",
                            entry.address, entry.to, nearest(entry.to, sorted(known)))

    def _parameter(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        if arguments:
            move(self.controls, name, arguments, self._feedback.origin(source))
        else:
            self._feedback.answer(source, ROOT + name, self.controls.values[name])

    def _command(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        call(self.controls, name, arguments, self._feedback.origin(source))

    def _alias(self, aliases: Sequence[Alias], arguments: Sequence[Any], source: Address) -> None:
        for alias in aliases:
            if alias.to not in self.controls.table:
                self._command(alias.to, arguments, source)
            elif arguments or alias.trigger:
                move(self.controls, alias.to, alias.read(arguments), self._feedback.origin(source))
            else:
                value = alias.write(self.controls.values[alias.to])
                if value is not None:
                    self._feedback.answer(source, alias.address, value)

    def _get(self, arguments: Sequence[Any], source: Address) -> None:
        known = self._everything()
        wanted = [ROOT + str(arguments[0])[:80]] if arguments else list(known)
        for address in wanted:
            if address in known:
                self._feedback.answer(source, address, known[address])
            else:
                self._wonder(address, source)

    def _subscribe(self, arguments: Sequence[Any], source: Address) -> None:
        listener = self._listener(arguments, source)
        before = self._feedback.subscribers().get(listener)
        endless = listener.tcp or (before is not None and before.seconds == math.inf)
        words = self._words(arguments[2]) if len(arguments) > 2 else before.words if before else (OWN,)
        seconds = math.inf if endless else _seconds(arguments[1]) if len(arguments) > 1 else LIFETIME
        self._admit(listener, Subscriber(source, words, seconds))

    def _unsubscribe(self, arguments: Sequence[Any], source: Address) -> None:
        self._feedback.unsubscribe(self._listener(arguments, source))

    def _listener(self, arguments: Sequence[Any], source: Address) -> Address:
        """Whom a subscription is for: a port of the sender's own host, and never this daemon itself; raises Refused."""
        try:
            named = bool(arguments) and (len(arguments) == 1 or arguments[0] != 0)
            listener = endpoint(arguments[0], source.host) if named else source
        except LcmDaemonError as error:
            raise Refused(str(error)) from error
        if listener.host != source.host or self._is_itself(listener, self.ports):
            raise Refused(f"{listener}: it takes a port of the sender's own host, other than this one")
        return listener

    def _is_itself(self, listener: Address, ports: Sequence[int]) -> bool:
        host = self.options["host"]
        reached = listener.host == host or (host == "0.0.0.0" and listener.host.startswith("127."))
        return reached and listener.port in ports and not listener.tcp

    def _words(self, value: Any) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(str(value)[:200].split()))
        known = (OWN, *self._aliases.words)
        unknown = [word for word in words if word not in known]
        if unknown or not words:
            raise Refused(f"a subscriber is told the addresses of {', '.join(known)}, not of {value!r:.80}")
        return words

    # Telling

    def _admit(self, listener: Address, subscriber: Subscriber) -> None:
        if self._feedback.subscribe(listener, subscriber):
            for word in subscriber.words:
                for address, value in self._everything(word).items():
                    self._feedback.send(listener, address, value)

    def _keep(self) -> None:
        """Leave the subscribers to the desk after this one; a connection's end with it."""
        lasting = {listener: who for listener, who in self._feedback.subscribers().items() if not listener.tcp}
        self.controls.keep_for_restart("osc", lasting)

    def _everything(self, word: str = OWN) -> dict[str, Value]:
        values = dict(pair for name, value in self.controls.values.items() for pair in self._told(name, value, word))
        status = self.controls.status.items() if word == OWN else ()
        return values | {f"{ROOT}status/{name}": value for name, value in status}

    def _told(self, name: str, value: Value, word: str) -> Iterator[tuple[str, Value]]:
        """How subscribers are told a parameter's value: addresses and arguments."""
        if word == OWN:
            yield ROOT + name, value
        else:
            yield from self._aliases.feedback(name, value, word)

    def _tell(self, name: str, value: Value, origin: str = "") -> None:
        for word in self._feedback.words():
            for address, told in self._told(name, value, word):
                self._feedback.tell(address, told, origin, word)

    def _hear(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._tell(change.name, change.value, change.origin)

    def _hear_table(self) -> None:
        self._set_up()
        for name, value in self.controls.values.items():
            self._tell(name, value)

    def _hear_status(self, status: Mapping[str, Value]) -> None:
        for name, value in status.items():
            if self._status.get(name) != value:
                self._feedback.tell(f"{ROOT}status/{name}", value)
        self._status = dict(status)

    def _send(self, packet: bytes, listener: Address) -> None:
        if listener.tcp and self._tcp is not None:
            self._tcp.send(packet, listener)
        elif self._udps and not listener.tcp:
            self._udps[0].send(packet, listener)


def _seconds(value: Any) -> float:
    """How long a subscription lasts; Refused where that is no time."""
    if isinstance(value, int | float) and 0 < value < math.inf:
        return min(float(value), LONGEST)
    raise Refused(f"a subscription lasts some seconds, not {value!r:.80}")
