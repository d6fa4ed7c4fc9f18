"""One browser (or script) on the panel's WebSocket. server.py describes the protocol."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from lcm_daemon.controllers.echo_gate import EchoGate
from lcm_daemon.controllers.panel import messages
from lcm_daemon.controllers.panel.camera import CameraInput
from lcm_daemon.controllers.panel.echo_filter import EchoFilter
from lcm_daemon.controllers.panel.preview import Preview
from lcm_daemon.controllers.panel.send_queue import SendQueue
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import LogThrottle
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change
from lcm_daemon.web.access import VIEWER_PAUSE
from lcm_daemon.web.server import MESSAGE_LIMIT

log = logging.getLogger(__name__)

CORRECTION_SECONDS = 0.5  # between two checks for wrong values on the page
HEARTBEAT_SECONDS = 0.5
LATE_SECONDS = 3.0  # after the heartbeat that a message names; the page waits as long before it reconnects
NO_BROWSER_SOURCE = "the show has no browser source; the page's camera is not used"
KEYS = ("set", "command", "frame", "input", "camera", "look")  # of a client's message
SET_AT_ONCE = 64  # values of one message, after which other clients and controllers have their turn
MOST_TIME = 1e12  # seconds; a heartbeat is less
ECHO_LATENCY = 0.1  # seconds; the daemon's own page sends nothing back, and its buttons may be pressed quickly


class PageClient:
    """Receives a client's requests and sends it what changes, until it disconnects.

    Args:
        origin: origin of this client's changes, such as "panel/3".
        camera: receives this client's camera frames; None if the show has no browser source.
        on_look: called while the client shows something that is only searched then, such as "sources".
        input_preview: the input, which is sent when the page asks for it.
    """

    def __init__(
        self, socket: WebSocket, origin: str, controls: ControlState, preview: Preview,
        camera: CameraInput | None = None, on_look: Callable[[str], None] = lambda what: None,
        input_preview: Preview | None = None,
    ) -> None:
        self._socket, self._origin, self._controls, self._preview = socket, origin, controls, preview
        self._camera, self._on_look, self._input_preview = camera, on_look, input_preview
        self._echo = EchoFilter(controls.values, origin)
        self._gate = EchoGate(latency=ECHO_LATENCY)
        self._queue = SendQueue()
        self._frame_acknowledged, self._input_asked = asyncio.Event(), asyncio.Event()
        self._throttle = LogThrottle(log, controls.metrics)
        self._last_heartbeat, self._last_correction = -math.inf, time.perf_counter()

    async def serve(self) -> None:
        """Serve an accepted socket until it closes."""
        tasks = [asyncio.create_task(work()) for work in (self._send_messages, self._send_preview, self._send_input)]
        try:
            await self._receive_messages()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._camera is not None:
                self._camera.stop(self)

    def on_changes(self, changes: Sequence[Change]) -> None:
        """Values of the control state have changed."""
        now = time.perf_counter()
        self._send_changes([change for change in changes if self._echo.must_send(change, now)])

    def _send_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            mover = self._origin if change.origin == self._origin else ""
            self._gate.report(self._origin, change.name, change.value, mover)
        self._queue.put_changes(changes)

    def on_panic(self) -> None:
        """Drop moves that wait."""
        self._gate.clear_waiting()

    def on_refusal(self, reason: str) -> None:
        """A request of this client was refused, by the control state or by the stage."""
        self._queue.put_error(reason)

    def on_table(self, message: str) -> None:
        """The parameters have been replaced. `message` describes the new ones."""
        self._gate.clear_waiting()
        self._echo.on_table(self._controls.values)
        self._queue.put_table(message)

    def on_list(self, name: str) -> None:
        self._queue.put_list(name)

    def on_status(self, message: str) -> None:
        self._queue.put_status(message)

    def on_camera_lost(self) -> None:
        """Another client has started its camera."""
        self._queue.put_camera("lost")

    async def _send_messages(self) -> None:
        try:
            await self._socket.send_text(messages.hello(self._controls, self._origin, self._camera is not None))
            while True:
                await self._send_heartbeat(time.perf_counter())
                for message in self._queue.pop_all(self._controls):
                    await self._send(message)
                await self._wait_for_queue()
                self._send_corrections(time.perf_counter())
        except (WebSocketDisconnect, OSError, RuntimeError):
            return  # disconnected; `_receive_messages` ends too

    def _send_corrections(self, now: float) -> None:
        """Not with every message: a request of the client may be under way."""
        if now - self._last_correction >= CORRECTION_SECONDS:
            self._last_correction = now
            self._send_changes(self._echo.corrections(self._controls.values, now))

    async def _send_heartbeat(self, now: float) -> None:
        if now - self._last_heartbeat >= HEARTBEAT_SECONDS:
            self._last_heartbeat = now
            await self._send(messages.heartbeat(now))

    async def _send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._socket.send_text(message)
        else:
            await self._socket.send_bytes(message)

    async def _wait_for_queue(self) -> None:
        try:
            async with asyncio.timeout(CORRECTION_SECONDS):
                await self._queue.filled.wait()
        except TimeoutError:
            return

    async def _send_preview(self) -> None:
        jpeg = None
        while (jpeg := await self._preview.next(jpeg)) is not None:
            self._queue.put_frame(jpeg.data)
            await self._frame_acknowledged.wait()
            self._frame_acknowledged.clear()

    async def _send_input(self) -> None:
        """Send frames of the input, each when the page has asked for it: a page that does not show it costs nothing."""
        jpeg = None
        while self._input_preview is not None:
            await self._input_asked.wait()
            self._input_asked.clear()
            if (jpeg := await self._input_preview.next(jpeg)) is None:
                return
            self._queue.put_input(jpeg.data)

    async def _receive_messages(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            jpeg = message.get("bytes")
            if jpeg is not None:
                await self._receive_camera_frame(jpeg)
            else:
                await self._receive_text(message.get("text") or "")
            size = len(jpeg or message.get("text") or "")
            await asyncio.sleep(self._pause(size))  # a flood of messages must not block the other controllers

    def _pause(self, size: int) -> float:
        """Seconds until the next message is read: a viewer's flood waits in its own connection."""
        return VIEWER_PAUSE * (1 + size / MESSAGE_LIMIT) if self._origin in self._controls.viewers else 0.0

    async def _receive_camera_frame(self, jpeg: bytes) -> None:
        if self._controls.refuses(self._origin):
            return
        if self._camera is None:
            self._reject(NO_BROWSER_SOURCE)
            return
        if not self._camera.is_owner(self):
            self._queue.put_camera("lost")
            return
        try:
            await self._camera.receive(jpeg)
        except (ValueError, LcmDaemonError) as error:
            self._reject(f"camera frame rejected: {error}")
        self._queue.put_camera("ack")

    async def _receive_text(self, text: str) -> None:
        try:
            message = messages.parse(text)
        except ValueError as error:
            self._reject(str(error))
            return
        heartbeat = message.pop("beat", None)
        age = time.perf_counter() - heartbeat if _is_time(heartbeat) else 0.0
        if age > LATE_SECONDS:
            self._ignore_late(message, age)
            return
        for key, content in message.items():
            await self._apply(key, content)

    async def _apply(self, key: str, content: Any) -> None:
        match key:
            case "set":
                await self._set_all(content)
            case "command":
                self._command(content)
            case "frame":
                self._acknowledge_frame(content)
            case "input":
                self._ask_for_input(content)
            case "camera":
                self._switch_camera(content)
            case "look":
                if self._origin not in self._controls.viewers:
                    self._on_look(str(content))
            case _:
                self._reject(f"unknown message {key!r:.80}; known are {', '.join(KEYS)}")

    def _ignore_late(self, message: Mapping[str, Any], age: float) -> None:
        """The network delayed this message. Report that, and correct the values that the page shows now."""
        self._controls.metrics.count("panel/late")
        requested = message.get("set")
        names = self._controls.values.keys() & (requested if isinstance(requested, dict) else {})
        self._send_changes([Change(name, self._controls.values[name], "panel") for name in names])
        self._queue.put_error(f"the network delayed this by {age:.0f} s: ignored")

    async def _set_all(self, values: Any) -> None:
        if not isinstance(values, dict):
            self._reject("set: expected an object of parameter names and values")
            return
        for number, (name, value) in enumerate(values.items(), 1):
            self._set(name, value)
            if number % SET_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _set(self, name: str, value: Any) -> None:
        """Set a parameter, unless the client only sends back what it was sent."""
        later = functools.partial(self._move, name, value)
        if self._gate.is_move((self._origin,), self._origin, name, value, later):
            self._move(name, value)
        elif name in self._controls.table:
            self._echo.on_reflection(name, self._controls.table[name].coerce(value))

    def _move(self, name: str, value: Any) -> None:
        accepted = self._controls.set(name, value, self._origin)  # counts and logs what it refuses
        if name not in self._controls.table:
            return
        coerced = self._echo.current(name, self._controls.values)
        if accepted:
            coerced = self._controls.table[name].coerce(value)
            self._echo.on_request(name, coerced, time.perf_counter())
            self._queue.drop_change(name)
        if coerced != value:
            self._send_changes([Change(name, coerced, self._origin)])

    def _command(self, content: Any) -> None:
        name: Any = content
        arguments: Any = []
        if isinstance(content, dict):
            name, arguments = content.get("name"), content.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, list):
            self._reject("command: expected a name, or an object with name and arguments")
            return
        if self._controls.command(name, self._origin, arguments):  # counts and logs what it refuses
            self._echo.on_command()

    def _acknowledge_frame(self, content: Any) -> None:
        if content != "ack":
            self._reject('frame: expected "ack"')
            return
        self._frame_acknowledged.set()

    def _ask_for_input(self, content: Any) -> None:
        if content != "next":
            self._reject('input: expected "next"')
            return
        self._input_asked.set()

    def _switch_camera(self, content: Any) -> None:
        if self._controls.refuses(self._origin):
            return
        if self._camera is None:
            self._reject(NO_BROWSER_SOURCE)
        elif content == "start":
            self._camera.start(self)
        elif content == "stop":
            self._camera.stop(self)
        else:
            self._reject('camera: expected "start" or "stop"')

    def _reject(self, reason: str) -> None:
        self._throttle.warn("panel/malformed", f"{self._origin}: {reason}")
        self._controls.report_refusal(Refusal(self._origin, reason))


def _is_time(value: Any) -> bool:
    """Whether a heartbeat may be one; JSON has numbers that are too large to calculate with."""
    return isinstance(value, int | float) and abs(value) < MOST_TIME
