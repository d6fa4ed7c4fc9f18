"""OneByOne: the requests of one address wait for each other, with pauses between, those of others do not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from lcm_daemon.web import one_by_one
from lcm_daemon.web.one_by_one import OneByOne


def test_a_request_waits_for_the_one_before_it_of_its_address() -> None:
    async def scenario() -> None:
        begun, goes_on = list[str](), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.append(scope["path"])
            if scope["path"] == "/fails":
                await asyncio.sleep(0)
                raise ZeroDivisionError
            await send({"type": "http.response.start"})
            await goes_on.wait()

        async def send(message: Any) -> None:
            await asyncio.sleep(0)

        served = OneByOne(app)

        def ask(path: str, host: str, kind: str = "http", headers: Any = ()) -> asyncio.Task[None]:
            scope = {"type": kind, "path": path, "client": (host, 5), "headers": headers}
            return asyncio.create_task(served(scope, None, send))  # type: ignore[arg-type]

        body = [(b"content-length", b"5")]
        tasks = [ask("/fails", "10.0.0.1"), ask("/1", "10.0.0.1"), ask("/2", "10.0.0.1"), ask("/3", "10.0.0.2"),
                 ask("/4", "10.0.0.1", "websocket"), ask("/5", "10.0.0.1", headers=body)]
        await asyncio.sleep(0)
        assert begun == ["/fails", "/3", "/4", "/5"]
        async with asyncio.timeout(10):
            while len(begun) < 6:
                await asyncio.sleep(0.001)
        assert begun[4:] == ["/1", "/2"], "an answer that has begun, as a stream's, holds up none"
        goes_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    asyncio.run(scenario())


def request(host: str, path: str = "/", kind: str = "http") -> Any:
    return {"type": kind, "path": path, "client": (host, 5), "headers": ()}


def test_all_addresses_that_flood_take_a_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "AHEAD", 0.01)

    async def scenario() -> None:
        busy, begun = [0.0], dict.fromkeys(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 0)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun[scope["client"][0]] += 1
            start = time.thread_time()
            while time.thread_time() < start + 0.002:
                pass
            busy[0] += time.thread_time() - start

        served = OneByOne(app)

        async def flood(host: str) -> None:
            while True:
                await served(request(host), None, None)  # type: ignore[arg-type]
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(flood(host)) for host in begun for _ in range(3)]
        await asyncio.sleep(0.05)
        start, busy[0] = time.monotonic(), 0.0
        await asyncio.sleep(0.5)
        assert busy[0] < 0.4 * (time.monotonic() - start)
        assert min(begun.values()) > 3, "none of them starves"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each.number == 0 and not each.lock.locked() for each in served._addresses.values())
    asyncio.run(scenario())


def test_a_page_with_its_pictures_waits_for_nothing() -> None:
    async def scenario() -> None:
        begun = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.append(time.monotonic())

        served = OneByOne(app)
        await asyncio.gather(*(served(request("10.0.0.1"), None, None) for _ in range(100)))  # type: ignore[arg-type]
        assert begun[-1] - begun[0] < one_by_one.AHEAD
    asyncio.run(scenario())


def test_who_does_not_wait_for_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "MOST_WAITING", 2)

    async def scenario() -> None:
        sent, goes_on = list[Any](), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await goes_on.wait()

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message.get("status") or message.get("code"))

        served = OneByOne(app)
        tasks = [asyncio.create_task(served(request(host, kind=kind), receive, send)) for host, kind in (
            ("10.0.0.1", "http"), ("10.0.0.1", "http"), ("10.0.0.1", "http"), ("10.0.0.1", "websocket"),
            ("10.0.0.2", "http"))]
        await asyncio.sleep(0.01)
        assert [each for each in sent if each] == [429, one_by_one.TRY_AGAIN_LATER]
        goes_on.set()
        await asyncio.gather(*tasks)
    asyncio.run(scenario())


def test_addresses_that_are_quiet_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "MOST_KNOWN", 4)

    async def scenario() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            """Nothing."""

        served = OneByOne(app)
        for number in range(50):
            await served(request(f"10.0.0.{number}"), None, None)  # type: ignore[arg-type]
            await asyncio.sleep(0.001)
        assert len(served._addresses) < 20
    asyncio.run(scenario())
