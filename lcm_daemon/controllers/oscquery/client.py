"""One WebSocket client of OSCQuery: what it listens to, and what waits to be sent to it.

Commands come as JSON text, {"COMMAND": "LISTEN", "DATA": "/lcm/strength"}; OSC packets come and go as binary messages.
Of several values of one address that wait for a slow client, the newest is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping

from starlette.websockets import WebSocket, WebSocketDisconnect

from lcm_daemon.core.metrics import Metrics

EVENTS = 1024  # PATH_ messages that wait; a client that is further behind is let go

Take = Callable[[bytes, "Client"], None]


class Client:
    """A connection. `take` gets the OSC packets it sends, `known` says whether there is such an address."""

    def __init__(self, web: WebSocket, origin: str, take: Take, known: Callable[[str], bool], metrics: Metrics) -> None:
        self.origin = origin
        self._web, self._take, self._known, self._health = web, take, known, metrics
        self._listening: set[str] = set()
        self._values: dict[str, bytes] = {}  # OSC packets by address
        self._events: list[str] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Serve it until it goes."""
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

    def hear(self, address: str, packet: bytes, origin: str = "") -> None:
        """Tell it a value, if it listens to that address and has not set it itself."""
        if address in self._listening and (origin != self.origin or address in self._values):
            self.answer(address, packet)

    def answer(self, address: str, packet: bytes) -> None:
        """Send it a value it asked for."""
        self._values[address] = packet
        self._news.set()

    def notify(self, command: str, path: str) -> None:
        """Tell it that a path has been added, removed or changed. One that is gone is no longer listened to."""
        if command == "PATH_REMOVED":
            self._listening.discard(path)
            self._values.pop(path, None)
        if len(self._events) < EVENTS:
            self._events.append(json.dumps({"COMMAND": command, "DATA": path}))
        self._news.set()

    async def _read(self) -> None:
        while True:
            message = await self._web.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                self._take(message["bytes"], self)
            else:
                self._obey(message.get("text") or "")

    def _obey(self, text: str) -> None:
        try:
            message = json.loads(text)
            command, path = str(message["COMMAND"]), str(message["DATA"])
        except (ValueError, RecursionError, TypeError, LookupError):
            command, path = "", ""
        if command in _COMMANDS and (command == "IGNORE" or self._known(path)):
            _COMMANDS[command](self._listening, path)
        else:
            self._health.count("oscquery/refused")

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            if len(self._events) >= EVENTS:
                return await self._web.close(1008, "too far behind")
            self._news.clear()
            events, self._events = self._events, []
            values, self._values = self._values, {}
            for event in events:
                await self._web.send_text(event)
            for packet in values.values():
                await self._web.send_bytes(packet)


_COMMANDS: Mapping[str, Callable[[set[str], str], None]] = {"LISTEN": set.add, "IGNORE": set.discard}
