"""LeanPhone: a visitor on a WebSocket that costs its process little, so that one process can be hundreds of visitors.

It reads the frames of RFC 6455 itself, and decodes a message only where it must. All times are `time.perf_counter()`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Any

from tests.rigs.audience import ask

QUESTION = b'{"set":{"strength":0.5}}'  # is answered with values during a turn, and with an error before it
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HEAD = b"\r\n\r\n"


class LeanPhone(asyncio.Protocol):
    """Joins, answers every message of the server, asks from time to time, and leaves a while after its turn began.

    Args:
        turn: Seconds from the begin of its turn until it leaves.
        pause: Seconds between two questions.

    Attributes:
        answers: When each question was sent, and the seconds until its answer.
        called: When its turn began; twice, if it had two.
        places: Place in the queue, each time that it changed.
        code: Of the close frame; 0 while the connection is open, -1 if it ended without one.
        gone: Set at the end of the connection.
    """

    def __init__(self, port: int, turn: float, pause: float) -> None:
        self.port, self.turn, self.pause = port, turn, pause
        self.number, self.ended, self.code, self.pictures = 0, "", 0, 0
        self.answers: list[tuple[float, float]] = []
        self.called: list[float] = []
        self.places: list[int] = []
        self.gone = asyncio.Event()
        self._asked: deque[float] = deque()
        self._data = b""
        self._is_open = self._plays = False
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None

    async def visit(self, delay: float = 0.0) -> None:
        """Join, wait, play and leave."""
        await asyncio.sleep(delay)
        joined = await ask(self.port, "/join", "POST")
        assert joined.status == 201, (joined.status, joined.body)
        self.number = joined.json()["number"]
        self._cookie = joined.headers["set-cookie"][0].partition(";")[0]
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)
        await self.gone.wait()

    def send(self, data: bytes, kind: int = TEXT) -> None:
        """Send one short frame. Its mask is 0, which leaves the data as it is."""
        assert len(data) < 126
        self._transport.write(bytes((0x80 | kind, 0x80 | len(data), 0, 0, 0, 0)) + data)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        lines = ("GET /join/ws HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", f"Cookie: {self._cookie}")
        transport.write("\r\n".join(lines).encode() + HEAD)

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        if not self._is_open:
            head, found, rest = data.partition(HEAD)
            if not found:
                self._data = data
                return
            assert b" 101 " in head.split(b"\r\n")[0], head
            self._is_open, data = True, rest
            self._ask()
        at = 0
        while (frame := _frame_at(data, at)) is not None:
            kind, begin, at = frame
            self._receive(kind, data[begin:at])
        self._data = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        self.code = self.code or -1
        if self._timer is not None:
            self._timer.cancel()
        self.gone.set()

    # --- messages ---

    def _ask(self) -> None:
        self._asked.append(time.perf_counter())
        self.send(QUESTION)
        self._timer = asyncio.get_running_loop().call_later(self.pause, self._ask)

    def _receive(self, kind: int, data: bytes) -> None:
        if kind == BINARY:
            self.pictures += 1
            self.send(b'{"picture":"ack"}')
        elif kind == PING:
            self.send(data, PONG)
        elif kind == CLOSE:
            self.code = int.from_bytes(data[:2], "big")
            self.send(data[:2], CLOSE)
        elif data.startswith((b'{"values"', b'{"error"')):
            asked = self._asked.popleft()
            self.answers.append((asked, time.perf_counter() - asked))
        elif data.startswith(b'{"state"'):
            self.send(b'{"here":true}')
            self._follow(json.loads(data)["state"])
        elif data.startswith(b'{"ended"'):
            self.ended = json.loads(data)["ended"]

    def _follow(self, state: dict[str, Any]) -> None:
        if state["phase"] == "turn" and not self._plays:
            self.called.append(time.perf_counter())
            asyncio.get_running_loop().call_later(self.turn, self._leave)
        elif state["phase"] == "waiting" and self.places[-1:] != [state["place"]]:
            self.places.append(state["place"])
        self._plays = state["phase"] == "turn"

    def _leave(self) -> None:
        if not self._transport.is_closing():
            self.send(b'{"leave":true}')


def _frame_at(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Kind, begin and end of the payload of the unmasked frame at a place; None if it is not complete."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    if size > 125:
        begin += 2 if size == 126 else 8
        if len(data) < begin:
            return None
        size = int.from_bytes(data[at + 2:begin], "big")
    return (data[at] & 15, begin, begin + size) if len(data) >= begin + size else None
