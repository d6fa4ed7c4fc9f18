"""One WebSocket client of OSCQuery: the paths it listens to, and the messages that wait for it.

Commands arrive as JSON text, {"COMMAND": "LISTEN", "DATA": "/lcm/strength"}. OSC packets are binary messages in both
directions. If several values of one address wait for a slow client, only the newest is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from lcm_daemon.controllers.echo_gate import EchoGate
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.web.origin_guard import POLICY_VIOLATION

MAX_NOTIFICATIONS = 1024  # PATH_ messages that wait; a client further behind is disconnected

OnPacket = Callable[[bytes, "QueryClient"], Awaitable[None]]  # waits until further packets may come


class QueryClient:
    """A connection.

    Args:
        web: The WebSocket, accepted.
        origin: Origin of the client's changes.
        on_packet: Handles the OSC packets that the client sends.
        has_path: Whether an address exists.
        metrics: Counters.
        pause: Seconds between two messages that are read.
    """

    def __init__(
        self, web: WebSocket, origin: str, on_packet: OnPacket, has_path: Callable[[str], bool], metrics: Metrics,
        pause: float = 0.0,
    ) -> None:
        self.origin = origin
        self.echoes = EchoGate()
        self._web, self._on_packet, self._has_path, self._metrics = web, on_packet, has_path, metrics
        self._pause = pause
        self.host = web.client.host if web.client else ""
        self._listening: set[str] = set()
        self._values: dict[str, tuple[bytes, Value, str]] = {}  # waiting packets by address, with value and origin
        self._notifications: list[str] = []
        self._waiting = asyncio.Event()  # set while something waits to be sent

    async def serve(self) -> None:
        """Serve the client until it disconnects."""
        writing = asyncio.create_task(self._write())
        reading = asyncio.create_task(self._read())
        done, _ = await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
        for task in (writing, reading):
            task.cancel()
        await asyncio.gather(writing, reading, return_exceptions=True)
        for task in done:
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, WebSocketDisconnect | OSError | RuntimeError):
                raise error

    def publish(self, address: str, packet: bytes, value: Value, origin: str = "") -> None:
        """Queue a value if the client listens to the address and is not the origin of the value."""
        if address in self._listening and (origin != self.origin or address in self._values):
            self.reply(address, packet, value, origin)

    def reply(self, address: str, packet: bytes, value: Value, origin: str = "") -> None:
        """Queue a value that the client asked for."""
        self._values[address] = packet, value, origin
        self._waiting.set()

    def notify(self, command: str, path: str) -> None:
        """Queue a PATH_ADDED, PATH_REMOVED or PATH_CHANGED. The client stops listening to a removed path."""
        if command == "PATH_REMOVED":
            self._listening.discard(path)
            self._values.pop(path, None)
        if len(self._notifications) < MAX_NOTIFICATIONS:
            self._notifications.append(json.dumps({"COMMAND": command, "DATA": path}))
        self._waiting.set()

    async def _read(self) -> None:
        while True:
            message = await self._web.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                await self._on_packet(message["bytes"], self)
            else:
                self._on_text(message.get("text") or "")
            await asyncio.sleep(self._pause)

    def _on_text(self, text: str) -> None:
        try:
            message = json.loads(text)
            command, path = str(message["COMMAND"]), str(message["DATA"])
        except (ValueError, RecursionError, TypeError, LookupError):
            command, path = "", ""
        if command == "LISTEN" and self._has_path(path):
            self._listening.add(path)
        elif command == "IGNORE":
            self._listening.discard(path)
        else:
            self._metrics.count("oscquery/refused")

    async def _write(self) -> None:
        while True:
            await self._waiting.wait()
            if len(self._notifications) >= MAX_NOTIFICATIONS:
                return await self._web.close(POLICY_VIOLATION, "the client reads too slowly")
            self._waiting.clear()
            notifications, self._notifications = self._notifications, []
            values, self._values = self._values, {}
            for notification in notifications:
                await self._web.send_text(notification)
            for address, (packet, value, origin) in values.items():
                self.echoes.report(self.origin, address, value, origin if origin == self.origin else "")
                await self._web.send_bytes(packet)
