"""VisitorPage: one page of a visitor on its WebSocket. server.py describes the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Iterator
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from lcm_daemon.audience.lobby import Lobby
from lcm_daemon.audience.sessions import VisitorSession
from lcm_daemon.controllers.panel.messages import parse

MOST_MESSAGE = 8192  # characters of a message; the longest text takes 3,600 when escaped
MESSAGE_PAUSE = 1 / 60  # seconds for each message that is read; a flood waits in its own connection
ANSWER = "time/answer"  # metric: from the moment when a page's request is read until its answer has been sent
MESSAGES_AT_ONCE = 6  # that are read without a pause
SEND_SECONDS = 10.0  # within which a page must take a message
IN_FLIGHT = 2  # pictures that a page may have been sent and not yet shown
ERRORS_KEPT = 4
HOPELESS = 1013  # WebSocket close code: the page reads too slowly; it may try again
_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder each time
ORDER = ("hello", "table", "values", "state", "camera", "withheld", "ended")  # in which messages that wait are sent


class CameraFrames(Protocol):
    """Destination of the frames of visitors' cameras."""

    async def receive(self, session: VisitorSession, jpeg: bytes) -> str:
        """Take a frame. Returns why it was refused, or ""."""


class VisitorPage:
    """Reads what a page asks for and sends it the newest of each kind of message, until either side closes.

    Args:
        socket: Accepted.
    """

    def __init__(self, socket: WebSocket, session: VisitorSession, lobby: Lobby, camera: CameraFrames) -> None:
        self._socket, self._session, self._lobby, self._camera = socket, session, lobby, camera
        self._waiting: dict[str, Any] = {}
        self._errors: list[str] = []
        self._picture: bytes | None = None
        self._room = IN_FLIGHT
        self._filled = asyncio.Event()
        self._close: tuple[int, str] | None = None
        self._asked_at = 0.0  # when the oldest request was read that has no answer yet; 0 for none

    # --- what the lobby calls ---

    def put(self, kind: str, content: Any) -> None:
        """Queue a message; of each kind, the newest counts. Values are added to those that wait."""
        if kind == "values":
            content = {**self._waiting.get(kind, {}), **content}
        elif kind == "table":
            self._waiting.pop("values", None)
        self._waiting[kind] = content
        self._filled.set()

    def put_error(self, text: str) -> None:
        """Queue the reason why something was refused."""
        self._errors = [*self._errors, text][-ERRORS_KEPT:]
        self._filled.set()

    @property
    def accepts_picture(self) -> bool:
        """Whether the page has shown what it was sent, but for one picture at most."""
        return self._room > 0 and self._close is None

    def put_picture(self, jpeg: bytes) -> None:
        """Queue a picture, in place of one that waits."""
        self._picture = jpeg
        self._filled.set()

    def end(self, code: int, reason: str) -> None:
        """Send what waits, and close."""
        self._close = code, reason
        self._filled.set()

    # --- the connection ---

    async def serve(self) -> None:
        """Serve the socket until it closes."""
        self._lobby.connect(self._session, self)
        reading, sending = (asyncio.create_task(work()) for work in (self._read, self._send_all))
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lobby.disconnect(self._session, self)
            for task in (reading, sending):
                task.cancel()
            await asyncio.gather(reading, sending, return_exceptions=True)

    async def _read(self) -> None:
        now = asyncio.get_running_loop().time
        paid = now()  # until when the messages that were read are paid for
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            self._lobby.queue.hear(self._session.number)
            jpeg = message.get("bytes")
            if jpeg is None:
                self._read_text(message.get("text") or "")
            else:
                await self._read_frame(jpeg)
            paid = max(paid + MESSAGE_PAUSE, now())
            await asyncio.sleep(max(paid - now() - MESSAGES_AT_ONCE * MESSAGE_PAUSE, 0.0))

    async def _read_frame(self, jpeg: bytes) -> None:
        refused = await self._camera.receive(self._session, jpeg)
        if refused:
            self.put_error(refused)
        self.put("camera", "ack")

    def _read_text(self, text: str) -> None:
        try:
            if len(text) > MOST_MESSAGE:
                raise ValueError(f"a message has {MOST_MESSAGE} characters at most")
            message = parse(text)
        except ValueError as error:
            self._lobby.metrics.count("refused/malformed")
            self.put_error(str(error))
            return
        for key, content in message.items():
            self._apply(key, content)

    def _apply(self, key: str, content: Any) -> None:
        match key, content:
            case "here", _:
                return
            case "picture", "ack":
                self._room = min(self._room + 1, IN_FLIGHT)
            case "set", _:
                self._asked_at = self._asked_at or time.perf_counter()
                values, errors = self._lobby.set_values(self._session, content)
                for error in errors:
                    self.put_error(error)
                if values:
                    self.put("values", values)
            case "camera", "start" | "stop":
                if refused := self._lobby.set_camera(self._session, content == "start"):
                    self.put_error(refused)
            case "leave", _:
                self._lobby.leave(self._session)
            case _:
                self._lobby.metrics.count("refused/malformed")
                self.put_error("this message is not understood")

    async def _send_all(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):  # closed: `_read` ends too
            try:
                while self._close is None or self._waiting:
                    await self._filled.wait()
                    self._filled.clear()
                    await _within(self._send_waiting())
                await _within(self._socket.close(*self._close))
            except TimeoutError:
                self._lobby.metrics.count("closed/slow")
                await _within(self._socket.close(HOPELESS, "this page reads too slowly"))

    async def _send_waiting(self) -> None:
        asked_at, self._asked_at = self._asked_at, 0.0
        for message in self._pop_all():
            await self._socket.send_text(message)
        if asked_at:
            self._lobby.metrics.time(ANSWER, time.perf_counter() - asked_at)
        picture, self._picture = self._picture, None
        if picture is not None and self._close is None:
            self._room -= 1
            await self._socket.send_bytes(picture)

    def _pop_all(self) -> Iterator[str]:
        waiting, self._waiting = self._waiting, {}
        errors, self._errors = self._errors, []
        for kind in ORDER:
            if kind in waiting:
                yield _encode({kind: waiting[kind]})
        for error in errors:
            yield _encode({"error": error})


async def _within(sending: Awaitable[None]) -> None:
    """Await what is sent at once. Raises TimeoutError if the page does not read."""
    async with asyncio.timeout(SEND_SECONDS):
        await sending
