"""Seated: a client that does not read what it is sent, or is silent while others wait, loses its place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import PLAY
from lcm_daemon.web import seated, seats
from lcm_daemon.web.seated import Seated
from lcm_daemon.web.seats import Seats

SCOPE = {"type": "websocket", "role": PLAY, "client": ("127.0.0.1", 5)}


class Client:
    """The other end of a connection: what it was sent, and whether it reads."""

    def __init__(self, reads: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self._reads, self._messages = reads, asyncio.Queue[dict[str, Any]]()

    async def receive(self) -> dict[str, Any]:
        return await self._messages.get()

    async def send(self, message: Any) -> None:
        if not self._reads and message["type"] != "websocket.close":
            await asyncio.Event().wait()
        self.sent.append(dict(message))

    def say(self, text: str) -> None:
        self._messages.put_nowait({"type": "websocket.receive", "text": text})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message["text"]})


def test_a_client_that_does_not_read_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seated, "SEND_SECONDS", 0.02)

    async def scenario() -> None:
        metrics, places, client = Metrics(), Seats(1), Client(reads=False)
        app = Seated(echo, places, metrics, "panel", "full")
        await asyncio.wait_for(app(SCOPE, client.receive, client.send), 10)
        assert client.sent == [{"type": "websocket.close", "code": 1013, "reason": seated.SLOW}]
        assert metrics.counts() == {"panel/slow": 1}
        assert not len(places)
    asyncio.run(scenario())


def test_a_silent_client_makes_room_and_one_that_speaks_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        places, first, second, third = Seats(1), Client(), Client(), Client()
        app = Seated(echo, places, Metrics(), "panel", "full")
        one = asyncio.create_task(app(SCOPE, first.receive, first.send))
        first.say("a")
        await asyncio.sleep(0.01)
        third.say("connect")
        await app(SCOPE, third.receive, third.send)
        assert third.sent[-1] == {"type": "websocket.close", "code": 1013, "reason": "full"}
        monkeypatch.setattr(seats, "SILENT_SECONDS", 0.0)
        two = asyncio.create_task(app(SCOPE, second.receive, second.send))
        await asyncio.wait_for(one, 10)
        assert [each["type"] for each in first.sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        second.say("b")
        await asyncio.sleep(0.01)
        assert second.sent[-1] == {"type": "websocket.send", "text": "b"}
        two.cancel()
    asyncio.run(scenario())


def test_an_app_that_fails_fails() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        client = Client()
        with pytest.raises(ZeroDivisionError):
            await Seated(fail, Seats(1), Metrics(), "panel", "full")(SCOPE, client.receive, client.send)
    asyncio.run(scenario())
