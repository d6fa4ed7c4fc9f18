"""OSCQuery: the whole address space as JSON over HTTP, its values as OSC packets over a WebSocket.

    GET /                       the tree; GET /lcm/strength is that part of it
    GET /lcm/strength?VALUE     one attribute (or several, separated by &)
    GET /?HOST_INFO             what this server supports, and where OSC listens
    WebSocket, at any path      LISTEN and IGNORE as JSON, OSC packets in both directions; when the recipe changes the
                                parameters, PATH_ADDED or PATH_REMOVED for each and one PATH_CHANGED for all

The protocol is https://github.com/Vidvox/OSCQueryProposal. An unknown address is 404. An attribute that the proposal
defines and this server does not support is 204, as is a VALUE that cannot be read. Any other query is 400.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.allowlist import HOST, NETWORK, Allowlist, is_loopback
from lcm_daemon.controllers.base import LIVE, REPORT, Controller
from lcm_daemon.controllers.echo_gate import sent_value
from lcm_daemon.controllers.osc_protocol.aliases import Aliases, use_alias
from lcm_daemon.controllers.osc_protocol.dispatch import is_question, run_command, set_parameter
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.intake import Intake, Message
from lcm_daemon.controllers.osc_protocol.moves import MoveKeys
from lcm_daemon.controllers.osc_protocol.packet_check import IMMEDIATELY, MalformedPacket, check_packet
from lcm_daemon.controllers.oscquery import tree
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.osc_names import ERROR, ROOT, STATUS, SYNC
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Boolean, Field, Fields, Items, Number

if TYPE_CHECKING:  # the web server is loaded at the start: `check` and `list` do not need it
    from lcm_daemon.controllers.oscquery.client import QueryClient
    from lcm_daemon.controllers.oscquery.mdns import Announcement
    from lcm_daemon.controllers.oscquery.server import QueryServer

log = logging.getLogger(__name__)


class OscQuery(Controller):
    """The OSCQuery controller. Rejected packets and requests are counted under "oscquery/"."""

    fields: ClassVar[Fields] = {
        "port": Field(Number(0, 65535, whole=True), 9080, "TCP port of HTTP and WebSocket; 0 takes any free one"),
        "host": Field(HOST, "127.0.0.1", "address to listen on; 0.0.0.0 opens OSCQuery to every network"),
        "allow": Field(Items(NETWORK), (), "addresses and networks that may connect; an empty list allows all"),
        "osc_port": Field(Number(0, 65535, whole=True), 9000, "UDP port of OSC that clients are referred to"),
        "report": REPORT,
        "mdns": Field(Boolean(), None, "announce the server by mDNS; default: if it listens beyond this machine"),
    }

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        """As Controller. The show adds the OSC controller's options under "osc" if that is on."""
        super().__init__(controls, {key: value for key, value in options.items() if key != "osc"})
        self._osc: Mapping[str, Any] | None = options.get("osc")
        self._is_live = self.options["report"] == LIVE
        self._movers: dict[str, str] = {}  # origin of the last change by parameter; only for live reports
        self.port = 0  # the listening port; 0 while stopped
        self._throttle = LogThrottle(log, controls.metrics)
        self._build_aliases()
        self._intake: Intake[QueryClient] = Intake(
            self._check, self._handle, lambda message: self._move_keys.key(message.data), "oscquery", controls.metrics,
            is_full=lambda: controls.is_full)
        self._nodes: tree.QueryNodes = {}
        self._tree: tree.Tree | None = None  # as it was last asked for; None once the nodes are others
        self._shown_values: Mapping[str, Value] = {}  # in it
        self._server: QueryServer | None = None
        self._announcement: Announcement | None = None

    async def start(self) -> None:
        """Start the server and announce it. Raises LcmDaemonError if the port cannot be bound."""
        from lcm_daemon.controllers.oscquery.server import QueryServer
        from lcm_daemon.controllers.sessions import shared_sessions
        from lcm_daemon.web.access import Access

        if self._server is not None:
            return
        self._nodes, self._tree = tree.method_nodes(self.controls, self._aliases), None
        policy = self.controls.network
        server = QueryServer(
            self._present, lambda path: path in self._nodes, self._on_packet, self._host_info(),
            Allowlist(policy.allow, self.options["allow"]).allows, policy,
            Access(policy, shared_sessions(self.controls)), self.controls.viewers, self.controls.metrics,
            self.controls.sockets)
        self.port = await server.start(self.options["host"], self.options["port"])
        self._server = server
        self._intake.start()
        self._unsubscribe_controls = self.controls.subscribe(
            on_changes=self._on_changes, on_status=self._on_status, on_table=self._on_table,
            on_panic=self._on_panic, on_refusal=self._on_refusal, on_moving=self._on_moving if self._is_live else None)
        await self._announce()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        self.port = 0
        self._unsubscribe_controls()
        if self._announcement is not None:
            await self._announcement.stop()
        await server.stop()
        await self._intake.stop()

    async def _announce(self) -> None:
        """Announce the server by mDNS. A failure is only logged: everything else works without it."""
        from lcm_daemon.controllers.oscquery.mdns import Announcement

        wanted = self.options["mdns"]
        if wanted is None:
            wanted = not is_loopback(self.options["host"])
        if not wanted:
            return
        host, osc = self.options["host"], self._osc
        reaches_osc = osc is not None and (is_loopback(host) or not is_loopback(osc["host"]))
        self._announcement = Announcement(self._name, host, self.port, self.options["osc_port"] if reaches_osc else 0)
        try:
            await self._announcement.start()
        except LcmDaemonError as error:
            log.warning("%s; clients must be given the address", error)

    def _build_aliases(self) -> None:
        osc = self._osc or {"profiles": (), "map": ()}
        self._aliases = Aliases(osc["profiles"], osc["map"], self.controls.table, self.controls.commands)
        self._move_keys = MoveKeys(self.controls.table, self._aliases.targets)

    @property
    def _name(self) -> str:
        return f"lcm-daemon {self.controls.show}".strip()

    def _host_info(self) -> tree.QueryNode:
        extensions = dict.fromkeys((*tree.ATTRIBUTES, *tree.STREAMING), True)
        osc = {"OSC_PORT": self.options["osc_port"], "OSC_TRANSPORT": "UDP"}
        return {"NAME": self._name, "EXTENSIONS": extensions, **osc}

    def _present(self) -> tree.Tree:
        """The tree with the present values. It is built once for as long as nothing changes."""
        if self._tree is None or self._shown_values != self.controls.values:
            self._tree = tree.Tree(self._current_nodes())
        return self._tree

    def _current_nodes(self) -> tree.QueryNodes:
        """The nodes with the present values."""
        self._shown_values = dict(self.controls.values)
        for name, value in self.controls.values.items():
            for path, shown in self._paths(name, value):
                node = self._nodes.get(path)
                if node is not None:
                    node["VALUE"] = [shown]
        return self._nodes

    # From the clients

    async def _on_packet(self, packet: bytes, client: QueryClient) -> None:
        """Queue a client's OSC packet. A client that sends more than can be handled is read more slowly."""
        self._intake.put(packet, client, client.host, drops=False)
        await self._intake.room(client, client.host)

    def _check(self, packet: bytes, client: QueryClient) -> Sequence[Message]:
        """The messages of a packet. Time tags are ignored."""
        try:
            checked = check_packet(packet)
        except MalformedPacket as reason:
            self._refuse(client, str(reason))
            return ()
        for fault in checked.faults:
            self._throttle.warn("oscquery/refused", f"OSCQuery: a packet from {client.origin}: {fault}")
        return [Message(message, IMMEDIATELY) for message, _ in checked.messages]

    def _handle(self, message: Message, client: QueryClient) -> None:
        try:
            self._handle_message(message.data, client)
        except Refused as reason:
            self._refuse(client, str(reason))

    def _refuse(self, client: QueryClient, reason: str) -> None:
        self._throttle.warn("oscquery/refused", f"OSCQuery: a packet from {client.origin} is refused: {reason}")
        self.controls.report_refusal(Refusal(client.origin, reason))

    def _handle_message(self, message: bytes, client: QueryClient) -> None:
        address = message[:message.index(0)].decode("ascii")
        name = address.removeprefix(ROOT)
        arguments: Sequence[Any] = OscMessage(message).params
        if address in self._aliases.targets:
            self._use_aliases(address, arguments, client)
        elif address == name or (name not in self.controls.table and name not in self.controls.commands):
            self._handle_other(address, arguments, client)
        elif name in self.controls.commands:
            run_command(self.controls, name, arguments, client.origin)
        elif not is_question(arguments):
            act = functools.partial(set_parameter, self.controls, name, arguments, client.origin)
            later = functools.partial(self._act_late, act, client)
            if client.echoes.is_move((client.origin,), client.origin, address, sent_value(arguments), later):
                act()
        else:
            value = self._reported(name, self.controls.values[name])
            client.reply(address, self._encode(address, value), value)

    def _handle_other(self, address: str, arguments: Sequence[Any], client: QueryClient) -> None:
        """Answer a question for the status, and `/lcm/sync`. An unknown address is refused."""
        node = self._nodes.get(address)
        if address == SYNC:
            token = next((each for each in arguments if isinstance(each, int | float | str)), 0)
            self.controls.when_handled(lambda: client.reply(SYNC, encode(SYNC, [token]), token))
        elif node and is_question(arguments):
            client.reply(address, self._encode(address, node["VALUE"][0]), node["VALUE"][0])
        elif address.startswith((STATUS, ERROR)):  # a client that sends reports back is not answered: they would circle
            self.controls.metrics.count("oscquery/reflected")
        else:
            self.controls.metrics.count("oscquery/unknown")
            self._send_error(client, f"unknown address {address[:80]}")

    def _use_aliases(self, address: str, arguments: Sequence[Any], client: QueryClient) -> None:
        act = functools.partial(self._act_on_aliases, address, arguments, client)
        later = functools.partial(self._act_late, act, client)
        if is_question(arguments) or client.echoes.is_move(
            (client.origin,), client.origin, address, sent_value(arguments), later
        ):
            act()

    def _act_on_aliases(self, address: str, arguments: Sequence[Any], client: QueryClient) -> None:
        for alias in self._aliases.targets.get(address, ()):
            answer = use_alias(self.controls, alias, arguments, client.origin,
                               lambda name: self._reported(name, self.controls.values[name]))
            if answer is not None:
                client.reply(address, self._encode(address, answer), answer)

    def _on_refusal(self, refusal: Refusal) -> None:
        """Tell a client that its request was refused."""
        client = self._server.client(refusal.origin) if self._server is not None else None
        if client is not None:
            self._send_error(client, refusal.text)

    def _send_error(self, client: QueryClient, text: str) -> None:
        client.reply(ERROR, encode(ERROR, [text]), text)

    def _act_late(self, act: Callable[[], None], client: QueryClient) -> None:
        try:
            act()
        except Refused as reason:
            self._refuse(client, str(reason))

    # To the clients

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._publish_value(change.name, self._reported(change.name, change.value), change.origin)
            if self._is_live:
                self._movers[change.name] = change.origin

    def _on_moving(self, values: Mapping[str, Value]) -> None:
        """Report values in force. The client that has started a glide by a move of its own is not sent its way."""
        for name, value in values.items():
            self._publish_value(name, value, self._movers.get(name, "") if name in self.controls.moving.faded else "")

    def _reported(self, name: str, target: Value) -> Value:
        """What clients are sent as a parameter's value."""
        return self.controls.moving.in_force.get(name, target) if self._is_live else target

    def _paths(self, name: str, value: Value) -> Iterator[tuple[str, Value]]:
        """Every path that shows a parameter, and what it shows."""
        yield ROOT + name, value
        for namespace in self._aliases.namespaces:
            yield from self._aliases.feedback(name, value, namespace)

    def _publish_value(self, name: str, value: Value, origin: str = "") -> None:
        for path, shown in self._paths(name, value):
            self._publish(path, shown, origin)

    def _on_status(self, status: Mapping[str, Value]) -> None:
        self._replace_nodes(tree.method_nodes(self.controls, self._aliases))

    def _on_panic(self) -> None:
        """Drop every move that waits."""
        if self._server is not None:
            self._server.clear_waiting()

    def _on_table(self) -> None:
        """Notify the clients of added, removed and changed paths, and send all values again."""
        self._on_panic()
        self._build_aliases()
        self._replace_nodes(tree.method_nodes(self.controls, self._aliases))
        for name, value in self.controls.values.items():
            self._publish_value(name, value)

    def _replace_nodes(self, nodes: tree.QueryNodes) -> None:
        """Replace the nodes, and notify the clients of the differences."""
        before, self._nodes, self._tree = self._nodes, nodes, None
        removed, added = before.keys() - nodes.keys(), nodes.keys() - before.keys()
        remaining = [path for path in nodes if path in before]
        changed = [path for path in remaining if tree.shape(before[path]) != tree.shape(nodes[path])]
        for command, paths in (("PATH_REMOVED", removed), ("PATH_ADDED", added)):
            for path in sorted(paths):
                self._notify(command, path)
        if removed or added or changed:  # as the proposal requires, for clients that only know PATH_CHANGED
            containers = map(tree.parent, removed | added)
            self._notify("PATH_CHANGED", tree.common_path([*containers, *changed], remaining))
        for path in set(remaining) - set(changed):
            if nodes[path]["ACCESS"] == tree.READ_ONLY and before[path]["VALUE"] != nodes[path]["VALUE"]:
                self._publish(path, nodes[path]["VALUE"][0])

    def _notify(self, command: str, path: str) -> None:
        if self._server is not None:
            self._server.notify(command, path)

    def _publish(self, path: str, value: Value, origin: str = "") -> None:
        if self._server is not None:
            self._server.publish(path, self._encode(path, value), value, origin)

    def _encode(self, path: str, value: Value) -> bytes:
        """Encode a value, or a message without arguments (counted) if OSC cannot encode it."""
        try:
            return encode(path, [value])
        except LcmDaemonError as error:
            self._throttle.warn("oscquery/failed", f"{error}; the message is sent without the value")
            return encode(path, [])
