"""OriginGuard: which requests it passes on, called as a web server calls it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.web.origin_guard import Message, OriginGuard

NAME = socket.gethostname()
HERE = "127.0.0.1:8000"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"let": "in"})


def guard(bound: str = "127.0.0.1", metrics: Metrics | None = None, **options: Any) -> OriginGuard:
    return OriginGuard(app, bound, metrics or Metrics(), "web/foreign", **options)


def ask(
    one: OriginGuard, *headers: tuple[str, str], kind: str = "http", client: Any = ("127.0.0.1", 5),
) -> list[Message]:
    """Return the messages that the guard, or the app behind it, sends."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": f"{kind}.connect"}

    scope = {"type": kind, "client": client, "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers]}
    asyncio.run(one(scope, receive, send))
    return sent


@pytest.mark.parametrize(("bound", "host", "known"), [
    ("127.0.0.1", "127.0.0.1:8000", True),
    ("127.0.0.1", "LOCALHOST", True),
    ("127.0.0.1", "[::1]:8000", True),
    ("127.0.0.1", "192.168.1.5:8000", True),  # a tunnel's; an address cannot be pointed elsewhere
    ("0.0.0.0", "[fe80::1]:8000", True),
    ("0.0.0.0", NAME, True),
    ("0.0.0.0", f"{NAME.partition('.')[0]}.local:8000", True),
    ("vj.example.org", "VJ.example.org:8000", True),
    ("0.0.0.0", "example.org", False),
    ("127.0.0.1", "example.org", False),
    ("127.0.0.1", "localhost.example.org", False),
    ("127.0.0.1", "localhost:8000@example.org", False),
    ("127.0.0.1", "127.0.0.1.example.org", False),
    ("127.0.0.1", "[localhost]", False),
    ("127.0.0.1", "", False),
])
def test_a_host_names_this_machine(bound: str, host: str, known: bool) -> None:
    assert guard(bound).is_own_host(host) is known


@pytest.mark.parametrize("headers", [
    [("host", HERE)],
    [("host", HERE), ("origin", f"http://{HERE}")],
    [("host", f"{NAME}:8000"), ("origin", f"https://{NAME.lower()}:8000")],
])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_own_pages_and_programs_without_an_origin_are_admitted(headers: list[tuple[str, str]], kind: str) -> None:
    assert ask(guard(), *headers, kind=kind) == [{"let": "in"}]


@pytest.mark.parametrize(("headers", "reason"), [
    ([], "the Host header is not a name of this machine: missing"),
    ([("host", "evil.example")], "the Host header is not a name of this machine: evil.example"),
    ([("host", HERE), ("host", HERE)], f"the Host header is not a name of this machine: {HERE}, {HERE}"),
    ([("host", HERE), ("origin", "http://evil.example")], "pages of http://evil.example may not use this server"),
    ([("host", HERE), ("origin", "null")], "pages of null may not use this server"),
    ([("host", HERE), ("origin", "http://127.0.0.1:9")], "pages of http://127.0.0.1:9 may not use this server"),
    ([("host", HERE), ("origin", f"ftp://{HERE}")], f"pages of ftp://{HERE} may not use this server"),
    ([("host", HERE), ("origin", "http://[")], "pages of http://[ may not use this server"),
])
def test_foreign_requests_are_refused_and_counted(headers: list[tuple[str, str]], reason: str) -> None:
    metrics = Metrics()
    start, body = ask(guard(metrics=metrics), *headers)
    assert (start["status"], body["body"]) == (403, f"{reason}\n".encode())
    assert ask(guard(metrics=metrics), *headers, kind="websocket") == [
        {"type": "websocket.close", "code": 1008, "reason": reason}]
    assert metrics.counts() == {"web/foreign": 2}


def test_address_that_the_show_does_not_allow_is_refused() -> None:
    one = guard(admits=lambda address: address == "192.168.1.5")
    assert ask(one, ("host", HERE), client=("192.168.1.5", 5)) == [{"let": "in"}]
    for client in (("192.168.1.6", 5), None):
        assert ask(one, ("host", HERE), client=client)[0]["status"] == 403
