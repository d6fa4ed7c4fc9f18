"""OSC over UDP: parameters, commands and questions in; changes and status out to subscribers.

    /lcm/<parameter> value      move it: the first argument counts, the rest is passed over
    /lcm/<parameter>            ask for it
    /lcm/<command>              a command (panic); with the argument 0 or false it is a button let go, and does nothing
    /lcm/<command> values       a command that takes something (recipe <name>, size <width> <height>)
    /lcm/get [name]             ask for one parameter, or without a name for everything
    /lcm/subscribe [port]       be told of everything, now and whenever it changes: on that port of the sender's host,
    /lcm/unsubscribe [port]     or, without a port, at the address the message came from

A pattern (`/lcm/s*`) reaches the parameters, never a command or a subscription. An answer goes to the address the
question came from, and to every subscriber on that host. Subscribers are told `/lcm/<parameter> value` for every change
but their own, and `/lcm/status/<name> value` for the status. When the recipe changes, the addresses of its parameters
come and go with it, and every subscriber is told all values.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.board import Board, Change
from lcm_daemon.controllers.addresses import Addresses
from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.osc_feedback import Feedback, endpoint
from lcm_daemon.controllers.osc_guard import Malformed, check
from lcm_daemon.controllers.udp import Address, Udp
from lcm_daemon.document import Custom, Field, Fields, Items, Node, Number, Reader, Text, nearest
from lcm_daemon.errors import LcmDaemonError
from lcm_daemon.health import Seldom
from lcm_daemon.parameters import Value

log = logging.getLogger(__name__)

ROOT = "/lcm/"
STRANGERS = 32  # unknown addresses logged once each; others are counted

Handler = Callable[[Sequence[Any], Address], None]


def _read_host(node: Node, reader: Reader) -> str | None:
    text = Text().read(node, reader)
    if text is None:
        return None
    try:
        return str(ipaddress.IPv4Address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        reader.complain(node, f"{text!r:.80} is not {_HOST.describe()}")
        return None


def _read_endpoint(node: Node, reader: Reader) -> str | None:
    text = Text().read(node, reader)
    if text is None:
        return None
    try:
        return "{}:{}".format(*endpoint(text, "127.0.0.1"))
    except LcmDaemonError:
        reader.complain(node, f"{text!r:.80} is not {_ENDPOINT.describe()}")
        return None


_HOST = Custom(_read_host, "an IPv4 address such as 127.0.0.1 (this machine alone) or 0.0.0.0 (every network)")
_ENDPOINT = Custom(_read_endpoint, 'an IPv4 address and a port such as "127.0.0.1:9001"')


class Osc(Controller):
    """The OSC controller. No packet raises, blocks or fills the log; what is refused is counted under "osc/"."""

    fields: ClassVar[Fields] = {
        "port": Field(Number(0, 65535, whole=True), 9000, "The UDP port that listens; 0 takes any free one."),
        "host": Field(_HOST, "127.0.0.1", "The address that listens; 0.0.0.0 opens it to every network."),
        "feedback": Field(Items(_ENDPOINT), (), "Subscribers from the start, each host:port."),
    }

    def __init__(self, board: Board, options: Mapping[str, Any]) -> None:
        super().__init__(board)
        if set(options) - set(self.fields):
            raise ValueError(f"Osc knows no option {sorted(set(options) - set(self.fields))}")
        self.options = {name: options.get(name, spec.default) for name, spec in self.fields.items()}
        self._health, self._seldom = board.health, Seldom(log, board.health)
        self._set_up()
        self._feedback = Feedback(self._send, board.health)
        self._status: dict[str, Value] = {}
        self._strangers: set[str] = set()
        self._udp: Udp | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that listens; 0 while none does."""
        return self._udp.port if self._udp else 0

    async def start(self) -> None:
        """Bind the port, tell the show's subscribers everything, listen. LcmDaemonError where it cannot be bound."""
        if self._udp is not None:
            return
        listeners = [endpoint(text, "127.0.0.1") for text in self.options["feedback"]]
        if (self.options["host"], self.options["port"]) in listeners:
            raise LcmDaemonError(f"OSC: osc.feedback names port {self.options['port']}, which is osc.port itself")
        self._udp = Udp(self.options["host"], self.options["port"], self._health)
        self.board.listeners.append(self._hear)
        self.board.status_listeners.append(self._hear_status)
        self.board.table_listeners.append(self._hear_table)
        kept = self.board.kept.get("osc", {})  # who had subscribed to the desk before this one
        for listener, source in {**dict(zip(listeners, listeners, strict=True)), **kept}.items():
            self._admit(listener, source)
        self._listen(self._udp)

    async def stop(self) -> None:
        if self._udp is None or self._listening is None:
            return
        self.board.listeners.remove(self._hear)
        self.board.status_listeners.remove(self._hear_status)
        self.board.table_listeners.remove(self._hear_table)
        self._feedback.close()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._udp.close()
        self._udp = None

    # Receiving

    def _listen(self, udp: Udp) -> None:
        self._listening = asyncio.create_task(udp.listen(self._take), name="osc")
        self._listening.add_done_callback(functools.partial(self._listen_on, udp))

    def _listen_on(self, udp: Udp, ended: asyncio.Task[None]) -> None:
        """A defect in one handler costs that packet, not the port."""
        error = None if ended.cancelled() else ended.exception()
        if error is not None:
            self._seldom.warn("osc/failed", f"OSC: {type(error).__name__}: {error}")
            self._listen(udp)

    def _take(self, packet: bytes, source: Address) -> Iterator[None]:
        """One step a message."""
        try:
            messages = check(packet)
        except Malformed as reason:
            self._seldom.warn("osc/malformed", f"OSC packet from {source[0]}:{source[1]} refused: {reason}")
            return
        for message in messages:
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
            handler(arguments, source)

    def _wonder(self, address: str, source: Address) -> None:
        self._health.count("osc/unknown")
        if len(self._strangers) < STRANGERS and address not in self._strangers:
            self._strangers.add(address)
            log.warning("OSC from %s:%d: there is no %r%s", *source, address, nearest(address, self._handlers))

    # What stands at the addresses

    def _set_up(self) -> None:
        self._handlers = self._table()
        parameters = {ROOT + name: self._handlers[ROOT + name] for name in self.board.table}
        self._addresses = Addresses(self._handlers, parameters)

    def _table(self) -> dict[str, Handler]:
        return {
            ROOT + "get": self._get,
            ROOT + "subscribe": self._subscribe,
            ROOT + "unsubscribe": self._unsubscribe,
            **{ROOT + name: functools.partial(self._command, name) for name in self.board.commands},
            **{ROOT + name: functools.partial(self._parameter, name) for name in self.board.table},
        }

    def _parameter(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        if arguments:
            self.board.set(name, arguments[0], self._feedback.origin(source))
        else:
            self._feedback.answer(source, ROOT + name, self.board.values[name])

    def _command(self, name: str, arguments: Sequence[Any], source: Address) -> None:
        takes = bool(self.board.commands[name].arguments)
        released = not takes and bool(arguments) and isinstance(arguments[0], int | float) and not arguments[0]
        if not released:
            self.board.command(name, self._feedback.origin(source), arguments if takes else ())

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
        if listener is not None:
            self._admit(listener, source)

    def _unsubscribe(self, arguments: Sequence[Any], source: Address) -> None:
        listener = self._listener(arguments, source)
        if listener is not None:
            self._feedback.unsubscribe(listener)
            self.board.keep("osc", self._feedback.subscribers())

    def _listener(self, arguments: Sequence[Any], source: Address) -> Address | None:
        """Whom a subscription is for: a port of the sender's own host, and never this daemon itself."""
        try:
            listener = endpoint(arguments[0], source[0]) if arguments else source
        except LcmDaemonError as error:
            self._seldom.warn("osc/refused", f"OSC subscription from {source[0]}: {error}")
            return None
        if listener[0] != source[0] or listener == (self.options["host"], self.port):
            self._seldom.warn("osc/refused", f"OSC subscription of {listener[0]}:{listener[1]} from {source[0]} "
                                             "refused: it takes a port of the sender's own host, other than this one")
            return None
        return listener

    # Telling

    def _admit(self, listener: Address, source: Address) -> None:
        if self._feedback.subscribe(listener, source):
            self.board.keep("osc", self._feedback.subscribers())
            for address, value in self._everything().items():
                self._feedback.send(listener, address, value)

    def _everything(self) -> dict[str, Value]:
        values = {ROOT + name: value for name, value in self.board.values.items()}
        return values | {f"{ROOT}status/{name}": value for name, value in self.board.status.items()}

    def _hear(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._feedback.tell(ROOT + change.name, change.value, change.origin)

    def _hear_table(self) -> None:
        self._set_up()
        for name, value in self.board.values.items():
            self._feedback.tell(ROOT + name, value)

    def _hear_status(self, status: Mapping[str, Value]) -> None:
        for name, value in status.items():
            if self._status.get(name) != value:
                self._feedback.tell(f"{ROOT}status/{name}", value)
        self._status = dict(status)

    def _send(self, packet: bytes, listener: Address) -> None:
        if self._udp is not None:
            self._udp.send(packet, listener)
