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

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.allowlist import HOST, NETWORK, Allowlist
from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.osc_protocol.dispatch import ROOT, run_command, set_parameter
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.packet_check import MalformedPacket, check_packet
from lcm_daemon.controllers.oscquery import tree
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Refused, Value
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
        "mdns": Field(Boolean(), None, "announce the server by mDNS; default: if it listens beyond this machine"),
    }

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        super().__init__(controls, options)
        self.port = 0  # the listening port; 0 while stopped
        self._throttle = LogThrottle(log, controls.metrics)
        self._nodes: tree.QueryNodes = {}
        self._server: QueryServer | None = None
        self._announcement: Announcement | None = None

    async def start(self) -> None:
        """Start the server and announce it. Raises LcmDaemonError if the port cannot be bound."""
        from lcm_daemon.controllers.oscquery.server import QueryServer

        if self._server is not None:
            return
        self._nodes = tree.method_nodes(self.controls)
        allows = Allowlist(self.options["allow"]).allows
        server = QueryServer(self._current_nodes, self._on_packet, self._host_info(), allows, self.controls.metrics)
        self.port = await server.start(self.options["host"], self.options["port"])
        self._server = server
        self._unsubscribe_controls = self.controls.subscribe(
            on_changes=self._on_changes, on_status=self._on_status, on_table=self._on_table)
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

    async def _announce(self) -> None:
        """Announce the server by mDNS. A failure is only logged: everything else works without it."""
        from lcm_daemon.controllers.oscquery.mdns import Announcement

        wanted = self.options["mdns"]
        if wanted is None:
            wanted = not self.options["host"].startswith("127.")
        if not wanted:
            return
        self._announcement = Announcement(self._name, self.options["host"], self.port)
        try:
            await self._announcement.start()
        except LcmDaemonError as error:
            log.warning("%s; clients must be given the address", error)

    @property
    def _name(self) -> str:
        return f"lcm-daemon {self.controls.show}".strip()

    def _host_info(self) -> tree.QueryNode:
        extensions = dict.fromkeys((*tree.ATTRIBUTES, *tree.STREAMING), True)
        osc = {"OSC_PORT": self.options["osc_port"], "OSC_TRANSPORT": "UDP"}
        return {"NAME": self._name, "EXTENSIONS": extensions, **osc}

    def _current_nodes(self) -> tree.QueryNodes:
        """The nodes with the present values."""
        for name, value in self.controls.values.items():
            node = self._nodes.get(ROOT + name)
            if node is not None:
                node["VALUE"] = [value]
        return self._nodes

    # From the clients

    def _on_packet(self, packet: bytes, client: QueryClient) -> None:
        """Handle a client's OSC packet. Time tags are ignored."""
        try:
            checked = check_packet(packet)
            for fault in checked.faults:
                self._throttle.warn("oscquery/refused", f"OSCQuery: a packet from {client.origin}: {fault}")
            for message, _ in checked.messages:
                self._handle_message(message, client)
        except (MalformedPacket, Refused) as reason:
            self._throttle.warn("oscquery/refused", f"OSCQuery: a packet from {client.origin} is refused: {reason}")

    def _handle_message(self, message: bytes, client: QueryClient) -> None:
        address = message[:message.index(0)].decode("ascii")
        name = address.removeprefix(ROOT)
        arguments: Sequence[Any] = OscMessage(message).params
        if address == name or (name not in self.controls.table and name not in self.controls.commands):
            self.controls.metrics.count("oscquery/unknown")
        elif name in self.controls.commands:
            run_command(self.controls, name, arguments, client.origin)
        elif arguments:
            set_parameter(self.controls, name, arguments, client.origin)
        else:
            client.reply(address, self._encode(address, self.controls.values[name]))

    # To the clients

    def _on_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._publish(ROOT + change.name, change.value, change.origin)

    def _on_status(self, status: Mapping[str, Value]) -> None:
        self._replace_nodes(tree.method_nodes(self.controls))

    def _on_table(self) -> None:
        """Notify the clients of added, removed and changed paths, and send all values again."""
        self._replace_nodes(tree.method_nodes(self.controls))
        for name, value in self.controls.values.items():
            self._publish(ROOT + name, value)

    def _replace_nodes(self, nodes: tree.QueryNodes) -> None:
        """Replace the nodes, and notify the clients of the differences."""
        before, self._nodes = self._nodes, nodes
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
            self._server.publish(path, self._encode(path, value), origin)

    def _encode(self, path: str, value: Value) -> bytes:
        """Encode a value with the type of its node, or without arguments (counted) if OSC cannot encode it."""
        try:
            return encode(path, [value], wide=self._nodes.get(path, {}).get("TYPE") == "h")
        except LcmDaemonError as error:
            self._throttle.warn("oscquery/failed", f"{error}; the message is sent without the value")
            return encode(path, [])
