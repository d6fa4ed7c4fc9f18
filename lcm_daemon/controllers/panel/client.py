"""Client: one browser (or script) on the panel's WebSocket. The protocol is told in server.py."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from lcm_daemon.controllers.panel import messages
from lcm_daemon.controllers.panel.camera import Camera
from lcm_daemon.controllers.panel.mirror import Mirror
from lcm_daemon.controllers.panel.preview import Preview
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.parameters import Refused
from lcm_daemon.core.requests import Change

log = logging.getLogger(__name__)

MEND_SECONDS = 0.5
BEAT_SECONDS = 0.5
LATE_SECONDS = 3.0  # after the beat that a client names; the page's own patience
ERRORS_KEPT = 8


class Outbox:
    """What waits to be sent to one client: the newest of each thing, so that a slow browser never makes a queue."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._changes: dict[str, Change] = {}
        self._status: str | None = None
        self._table: str | None = None
        self._errors: list[str] = []
        self._picture: bytes | None = None
        self._camera = ""

    def changes(self, moved: Sequence[Change]) -> None:
        self._changes.update({c.name: c for c in moved})
        if moved:
            self.wake.set()

    def table(self, message: str) -> None:
        """Every value is in it: changes that wait are older."""
        self._table = message
        self._changes.clear()
        self.wake.set()

    def withhold(self, name: str) -> None:
        """A change that has not been sent yet is out of date: the client itself has moved on."""
        self._changes.pop(name, None)

    def status(self, message: str) -> None:
        self._status = message
        self.wake.set()

    def error(self, text: str) -> None:
        self._errors = [*self._errors, text][-ERRORS_KEPT:]
        self.wake.set()

    def picture(self, jpeg: bytes) -> None:
        self._picture = jpeg
        self.wake.set()

    def camera(self, word: str) -> None:
        """What became of this client's own picture."""
        self._camera = word
        self.wake.set()

    def take(self) -> Iterator[str | bytes]:
        """Everything that waits, values before pictures; the outbox is empty then."""
        self.wake.clear()
        table, moved, status, errors = self._table, self._changes, self._status, self._errors
        picture, camera = self._picture, self._camera
        self._table, self._changes, self._status, self._errors, self._picture = None, {}, None, [], None
        self._camera = ""
        yield from map(messages.error, errors)
        if camera:
            yield messages.camera(camera)
        if table is not None:
            yield table
        if moved:
            yield messages.changes(list(moved.values()))
        if status is not None:
            yield status
        if picture is not None:
            yield picture


class Client:
    """Reads what the client asks, and writes what it must know; ends when the client leaves."""

    def __init__(
        self, socket: WebSocket, origin: str, controls: ControlState, preview: Preview, camera: Camera | None = None
    ) -> None:
        self._socket, self._origin, self._board, self._preview = socket, origin, controls, preview
        self._camera = camera
        self._mirror = Mirror(controls.values, origin)
        self._outbox = Outbox()
        self._acknowledged = asyncio.Event()
        self._throttle = LogThrottle(log, controls.metrics)
        self._beaten = -math.inf

    async def run(self) -> None:
        """Serve an accepted socket until it closes."""
        tasks = [asyncio.create_task(work()) for work in (self._write, self._watch)]
        try:
            await self._read()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._camera is not None:
                self._camera.stop(self)

    def lose_camera(self) -> None:
        """Another client has started its own."""
        self._outbox.camera("lost")

    def hear(self, moved: Sequence[Change]) -> None:
        """The board's values have changed."""
        now = time.perf_counter()
        self._outbox.changes([c for c in moved if self._mirror.hear(c, now)])

    def hear_table(self, message: str) -> None:
        """The parameters are others: `message` holds them and their values."""
        self._mirror.adopt(self._board.values)
        self._outbox.table(message)

    def hear_status(self, message: str) -> None:
        self._outbox.status(message)

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (picture := message.get("bytes")) is not None:
                self._take_picture(picture)
            else:
                self._take(message.get("text") or "")
            await asyncio.sleep(0)  # one who floods must not keep the other controllers waiting

    async def _write(self) -> None:
        try:
            await self._socket.send_text(messages.hello(self._board, self._origin, self._camera is not None))
            while True:
                await self._beat(time.perf_counter())
                for message in self._outbox.take():
                    await self._send(message)
                await self._wait()
                self._outbox.changes(self._mirror.stale(self._board.values, time.perf_counter()))
        except (WebSocketDisconnect, OSError, RuntimeError):
            return  # it has left; `_read` hears of that too

    async def _beat(self, now: float) -> None:
        if now - self._beaten >= BEAT_SECONDS:
            self._beaten = now
            await self._send(messages.beat(now))

    async def _send(self, message: str | bytes) -> None:
        await (self._socket.send_text(message) if isinstance(message, str) else self._socket.send_bytes(message))

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(MEND_SECONDS):
                await self._outbox.wake.wait()
        except TimeoutError:
            return

    async def _watch(self) -> None:
        jpeg = None
        while (jpeg := await self._preview.next(jpeg)) is not None:
            self._outbox.picture(jpeg.data)
            await self._acknowledged.wait()
            self._acknowledged.clear()

    def _take_picture(self, jpeg: bytes) -> None:
        if self._camera is None:
            return self._complain("panel/malformed", "this show takes no pictures from a page: its source is another")
        if not self._camera.holds(self):
            return self._outbox.camera("lost")
        try:
            self._camera.take(jpeg)
        except (ValueError, LcmDaemonError) as error:
            self._complain("panel/malformed", f"the picture is not taken: {error}")
        return self._outbox.camera("ack")

    def _take(self, text: str) -> None:
        try:
            message = messages.parse(text)
        except ValueError as error:
            return self._complain("panel/malformed", str(error))
        beat = message.pop("beat", None)
        if isinstance(beat, int | float) and time.perf_counter() - beat > LATE_SECONDS:
            return self._void(message, time.perf_counter() - beat)
        for verb, argument in message.items():
            if verb not in _VERBS:
                self._complain("panel/malformed", f"there is no message {verb!r:.80}; there are {', '.join(_VERBS)}")
            else:
                _VERBS[verb](self, argument)
        return None

    def _void(self, message: Mapping[str, Any], age: float) -> None:
        """The network kept this too long: say so, and what is so instead of what the page shows now."""
        self._board.metrics.count("panel/late")
        moves = message.get("set")
        names = self._board.values.keys() & (moves if isinstance(moves, dict) else {})
        self._outbox.changes([Change(name, self._board.values[name], "panel") for name in names])
        self._outbox.error(f"the network kept this for {age:.0f} s: it was not obeyed")

    def _set(self, moves: Any) -> None:
        if not isinstance(moves, dict):
            return self._complain("panel/malformed", "set takes an object of names and values")
        for name, value in moves.items():
            self._move(name, value)
        return None

    def _move(self, name: str, value: Any) -> None:
        taken = self._board.set(name, value, self._origin)  # counts and logs what it does not take
        if name not in self._board.table:
            return self._outbox.error(f"there is no parameter {name!r:.80}")
        try:
            coerced = self._board.table[name].coerce(value)
        except Refused as refusal:
            self._outbox.error(str(refusal))
            coerced = self._mirror.current(name, self._board.values)
        if taken:
            self._mirror.ask(name, coerced, time.perf_counter())
            self._outbox.withhold(name)
        if coerced != value:
            self._outbox.changes([Change(name, coerced, self._origin)])
        return None

    def _command(self, asked: Any) -> None:
        name, arguments = (asked.get("name"), asked.get("arguments")) if isinstance(asked, dict) else (asked, [])
        if not isinstance(name, str) or not isinstance(arguments, list):
            return self._complain("panel/malformed", "command takes a name, or an object of name and arguments")
        if not self._board.command(name, self._origin, arguments):  # counts and logs what it does not take
            return self._outbox.error(self._board.refusal(name, arguments))
        return self._mirror.forget()

    def _frame(self, word: Any) -> None:
        if word != "ack":
            return self._complain("panel/malformed", "frame takes \"ack\"")
        return self._acknowledged.set()

    def _switch_camera(self, word: Any) -> None:
        if word not in ("start", "stop") or self._camera is None:
            return self._complain("panel/malformed", 'camera takes "start" or "stop", where the source is the page')
        return self._camera.start(self) if word == "start" else self._camera.stop(self)

    def _complain(self, path: str, text: str) -> None:
        self._throttle.warn(path, f"{self._origin}: {text}")
        self._outbox.error(text)


_VERBS: Mapping[str, Callable[[Client, Any], None]] = {
    "set": Client._set, "command": Client._command, "frame": Client._frame, "camera": Client._switch_camera,
}
