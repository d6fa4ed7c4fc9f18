"""Requests of one address: a flood is refused, others are answered, and no body is read."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from lcm_daemon.audience.request_limits import RequestLimits
from lcm_daemon.core.metrics import LogThrottle, Metrics


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "passed"})


class Rig:
    def __init__(self) -> None:
        self.time, self.metrics = 0.0, Metrics()
        throttle = LogThrottle(logging.getLogger(__name__), self.metrics)
        self.limits = RequestLimits(app, throttle, lambda: self.time, 8)

    def ask(self, address: str, kind: str = "http", **headers: str) -> Any:
        """What a request is answered with: "passed", a status, or the type of a message to a WebSocket."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        pairs = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        asyncio.run(self.limits({"type": kind, "client": (address, 5), "headers": pairs}, receive, send))
        return sent[0].get("status", sent[0]["type"])


def test_one_address_floods_and_others_are_answered() -> None:
    rig = Rig()
    answers = [rig.ask("2001:db8::1") for _ in range(200 + 50)]
    assert answers == ["passed"] * 200 + [429] * 50
    assert rig.ask("2001:db8::2", "websocket") == "websocket.close"  # of the same /64
    assert rig.ask("10.0.0.7") == "passed"
    assert [rig.ask("127.0.0.1") for _ in range(2 * 200)] == ["passed"] * 2 * 200
    rig.time += 2.5 * 0.05
    assert [rig.ask("2001:db8::1") for _ in range(3)] == ["passed", "passed", 429]
    assert rig.metrics.counts() == {"refused/requests": 52}


def test_a_body_is_not_read() -> None:
    rig = Rig()
    assert rig.ask("10.0.0.7", content_length="0") == "passed"
    assert rig.ask("10.0.0.7", content_length="1") == 413
    assert rig.ask("127.0.0.1", transfer_encoding="chunked") == 413
