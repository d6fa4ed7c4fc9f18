"""OSCQuery: the whole address space as JSON over HTTP, its values as OSC packets over a WebSocket.

    GET /                       the tree; GET /lcm/strength is that part of it
    GET /lcm/strength?VALUE     one attribute (or several, divided by &)
    GET /?HOST_INFO             what this server can do, and where OSC listens
    WebSocket, at any path      LISTEN and IGNORE as JSON, OSC packets both ways; when the recipe brings other
                                parameters, PATH_ADDED or PATH_REMOVED for each and one PATH_CHANGED for them all

The protocol is https://github.com/Vidvox/OSCQueryProposal. An address that is not there is 404; an attribute that the
proposal knows and this server does not, 204, as is a VALUE that cannot be read; any other query is 400.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.base import Controller
from lcm_daemon.controllers.osc.allowlist import Senders
from lcm_daemon.controllers.osc.dispatch import ROOT, call, move
from lcm_daemon.controllers.osc.options import HOST, NETWORK
from lcm_daemon.controllers.osc.packet_check import Malformed, check
from lcm_daemon.controllers.osc.sender import encode
from lcm_daemon.controllers.oscquery import tree as trees
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Refused, Value
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Boolean, Field, Fields, Items, Number

if TYPE_CHECKING:  # a web server is loaded when it is started: `check` and `list` need none
    from lcm_daemon.controllers.oscquery.client import Client
    from lcm_daemon.controllers.oscquery.mdns import Announcement
    from lcm_daemon.controllers.oscquery.server import Server

log = logging.getLogger(__name__)


class OscQuery(Controller):
    """The OSCQuery controller. What is refused is counted under "oscquery/"."""

    fields: ClassVar[Fields] = {
        "port": Field(Number(0, 65535, whole=True), 9080, "The TCP port of HTTP and WebSocket; 0 takes any free one."),
        "host": Field(HOST, "127.0.0.1", "The address that listens; 0.0.0.0 opens it to every network."),
        "allow": Field(Items(NETWORK), (), "Who may ask and move, as addresses and networks; everybody if empty."),
        "osc_port": Field(Number(0, 65535, whole=True), 9000, "Where clients are told that OSC listens, over UDP."),
        "mdns": Field(Boolean(), None, "Announce it by mDNS; if left out, where it listens beyond this machine."),
    }

    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        super().__init__(controls)
        if set(options) - set(self.fields):
            raise ValueError(f"OscQuery knows no option {sorted(set(options) - set(self.fields))}")
        self.options = {name: options.get(name, spec.default) for name, spec in self.fields.items()}
        self.port = 0  # that listens; 0 while none does
        self._throttle = LogThrottle(log, controls.metrics)
        self._nodes: trees.Nodes = {}
        self._server: Server | None = None
        self._announcement: Announcement | None = None

    async def start(self) -> None:
        """Listen, serve and announce; raise LcmDaemonError with one clear line where the port cannot be had."""
        from lcm_daemon.controllers.oscquery.server import Server

        if self._server is not None:
            return
        self._nodes = trees.nodes(self.controls)
        admits = Senders(self.options["allow"]).admits
        server = Server(self._now, self._take, self._host_info(), admits, self.controls.metrics)
        self.port = await server.start(self.options["host"], self.options["port"])
        self._server = server
        self._unsubscribe = self.controls.subscribe(
            on_changes=self._hear, on_status=self._hear_status, on_table=self._hear_table
        )
        await self._announce()

    async def stop(self) -> None:
        """Let go of clients and port. May be called at any time, also twice."""
        server, self._server = self._server, None
        if server is None:
            return
        self.port = 0
        self._unsubscribe()
        if self._announcement is not None:
            await self._announcement.stop()
        await server.stop()

    async def _announce(self) -> None:
        """Without the announcement everything else works: what keeps it away is told, and passed over."""
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
            log.warning("%s", error)

    @property
    def _name(self) -> str:
        return f"lcm-daemon {self.controls.show}".strip()

    def _host_info(self) -> trees.Node:
        extensions = dict.fromkeys((*trees.ATTRIBUTES, *trees.STREAMING), True)
        where = {"OSC_PORT": self.options["osc_port"], "OSC_TRANSPORT": "UDP"}
        return {"NAME": self._name, "EXTENSIONS": extensions, **where}

    def _now(self) -> trees.Nodes:
        """The nodes with the values of now."""
        for name, value in self.controls.values.items():
            node = self._nodes.get(ROOT + name)
            if node is not None:
                node["VALUE"] = [value]
        return self._nodes

    # From the clients

    def _take(self, packet: bytes, client: Client) -> None:
        """A client's OSC packet. Time tags are passed over."""
        try:
            for message, _ in check(packet):
                self._carry_out(message, client)
        except (Malformed, Refused) as reason:
            self._throttle.warn("oscquery/refused", f"OSCQuery packet from {client.origin} refused: {reason}")

    def _carry_out(self, message: bytes, client: Client) -> None:
        address = message[:message.index(0)].decode("ascii")
        name = address.removeprefix(ROOT)
        arguments: Sequence[Any] = OscMessage(message).params
        if address == name or (name not in self.controls.table and name not in self.controls.commands):
            self.controls.metrics.count("oscquery/unknown")
        elif name in self.controls.commands:
            call(self.controls, name, arguments, client.origin)
        elif arguments:
            move(self.controls, name, arguments, client.origin)
        else:
            client.answer(address, self._packet(address, self.controls.values[name]))

    # To the clients

    def _hear(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._tell(ROOT + change.name, change.value, change.origin)

    def _hear_status(self, status: Mapping[str, Value]) -> None:
        self._compare(trees.nodes(self.controls))

    def _hear_table(self) -> None:
        """Say what has come, gone and changed, and tell all values anew."""
        self._compare(trees.nodes(self.controls))
        for name, value in self.controls.values.items():
            self._tell(ROOT + name, value)

    def _compare(self, nodes: trees.Nodes) -> None:
        """Live by these nodes, and tell how they differ from those before."""
        before, self._nodes = self._nodes, nodes
        gone, come = before.keys() - nodes.keys(), nodes.keys() - before.keys()
        stayed = [path for path in nodes if path in before]
        reshaped = [path for path in stayed if trees.shape(before[path]) != trees.shape(nodes[path])]
        for command, paths in (("PATH_REMOVED", gone), ("PATH_ADDED", come)):
            for path in sorted(paths):
                self._notify(command, path)
        if gone or come or reshaped:  # for clients that know this one alone, as the proposal wants it
            self._notify("PATH_CHANGED", trees.common([*map(trees.above, gone | come), *reshaped], stayed))
        for path in set(stayed) - set(reshaped):
            if nodes[path]["ACCESS"] == trees.READ_ONLY and before[path]["VALUE"] != nodes[path]["VALUE"]:
                self._tell(path, nodes[path]["VALUE"][0])

    def _notify(self, command: str, path: str) -> None:
        if self._server is not None:
            self._server.notify(command, path)

    def _tell(self, path: str, value: Value, origin: str = "") -> None:
        if self._server is not None:
            self._server.tell(path, self._packet(path, value), origin)

    def _packet(self, path: str, value: Value) -> bytes:
        """A value as its node's type has it; without it (counted) where OSC cannot carry it."""
        try:
            return encode(path, [value], wide=self._nodes.get(path, {}).get("TYPE") == "h")
        except LcmDaemonError as error:
            self._throttle.warn("oscquery/failed", str(error))
            return encode(path, [])
