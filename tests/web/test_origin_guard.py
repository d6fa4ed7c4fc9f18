"""OriginGuard: which requests it passes on, called as a web server calls it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.network import NetworkPolicy
from lcm_daemon.web.origin_guard import Message, OriginGuard, mdns_host

NAME = socket.gethostname()
HERE = "127.0.0.1:8000"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"let": "in"})


async def answering_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})


def guard(bound: str = "127.0.0.1", metrics: Metrics | None = None, **options: Any) -> OriginGuard:
    return OriginGuard(app, bound, metrics or Metrics(), "web/foreign", **options)


def ask(
    one: OriginGuard, *headers: tuple[str, str], kind: str = "http", client: Any = ("127.0.0.1", 5),
    method: str = "GET",
) -> list[Message]:
    """Return the messages that the guard, or the app behind it, sends."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": f"{kind}.connect"}

    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "method": method, "client": client, "headers": encoded}
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
    assert start["status"] == 403
    assert body["body"].decode().startswith(f"{reason}; to allow it, add it to ")
    assert ask(guard(metrics=metrics), *headers, kind="websocket") == [
        {"type": "websocket.close", "code": 1008, "reason": reason}]
    assert metrics.counts() == {"web/foreign": 2}


@pytest.mark.parametrize("host", ["lcm.lan", "LCM.lan:9080", "lcm.lan.", "lcm.lan.:9080"])
def test_names_of_the_show_are_own_names(host: str) -> None:
    one = guard(policy=NetworkPolicy(hosts=("lcm.lan",)))
    assert ask(one, ("host", host)) == [{"let": "in"}]
    assert ask(one, ("host", host), ("origin", f"http://{host}"), kind="websocket") == [{"let": "in"}]
    assert ask(guard(), ("host", host))[0]["status"] == 403
    assert ask(one, ("host", f"{host}.evil.example"))[0]["status"] == 403


def test_the_announced_name_is_an_own_name_with_and_without_its_last_dot() -> None:
    for host in (mdns_host(), f"{mdns_host()}.", f"{mdns_host().upper()}.:8000"):
        assert ask(guard(), ("host", host)) == [{"let": "in"}]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_an_allowed_origin_may_use_the_server(kind: str) -> None:
    one = guard(policy=NetworkPolicy(origins=("https://studio.example",)))
    assert ask(one, ("host", HERE), ("origin", "https://Studio.example"), kind=kind) == [{"let": "in"}]
    refused = ask(one, ("host", HERE), ("origin", "http://studio.example"), kind=kind)
    assert refused[0]["type"] in ("websocket.close", "http.response.start")


def test_answers_for_an_allowed_origin_may_be_read_by_its_page() -> None:
    policy = NetworkPolicy(origins=("https://studio.example",))
    one = OriginGuard(answering_app, "127.0.0.1", Metrics(), "web/foreign", policy=policy)
    readable = (b"access-control-allow-origin", b"https://studio.example")
    page = [("host", HERE), ("origin", "https://studio.example")]
    assert readable in ask(one, *page)[0]["headers"]
    assert ask(one, ("host", HERE))[0]["headers"] == [(b"a", b"b")]
    start, _ = ask(one, *page, ("access-control-request-method", "GET"), method="OPTIONS")
    assert start["status"] == 204
    assert readable in start["headers"]


def test_address_that_the_show_does_not_allow_is_refused() -> None:
    one = guard(admits=lambda address: address == "192.168.1.5")
    assert ask(one, ("host", HERE), client=("192.168.1.5", 5)) == [{"let": "in"}]
    for client in (("192.168.1.6", 5), None):
        assert ask(one, ("host", HERE), client=client)[0]["status"] == 403
