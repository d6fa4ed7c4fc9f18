"""OneByOne: the requests of one address wait for each other and for their turn, those of others do not."""

from __future__ import annotations

import asyncio
from typing import Any

from lcm_daemon.core.rate_limit import Pace
from lcm_daemon.web.one_by_one import TRY_AGAIN_LATER, OneByOne


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
        for _ in range(6):
            await asyncio.sleep(0)
        assert begun[4:] == ["/1", "/2"], "an answer that has begun, as a stream's, holds up none"
        goes_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    asyncio.run(scenario())


def test_who_asks_without_a_pause_waits_and_is_refused_in_the_end() -> None:
    async def scenario() -> None:
        begun, sent = list[str](), list[Any]()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.append(scope["path"])

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        served = OneByOne(app, Pace(rate=100.0, burst=2, longest=0.02))

        def ask(path: str, host: str, kind: str = "http") -> asyncio.Task[None]:
            scope = {"type": kind, "path": path, "client": (host, 5), "headers": ()}
            return asyncio.create_task(served(scope, receive, send))

        tasks = [ask(f"/{number}", "10.0.0.1") for number in range(6)]
        tasks += [ask("/other", "10.0.0.2"), ask("/ws", "10.0.0.1", "websocket")]
        await asyncio.sleep(0)
        assert begun == ["/0", "/1", "/other"]
        await asyncio.gather(*tasks)
        assert begun == ["/0", "/1", "/other", "/2", "/3"]
        refused = [message.get("status") or message.get("code") for message in sent]
        assert [each for each in refused if each] == [429, 429, TRY_AGAIN_LATER]
    asyncio.run(scenario())
