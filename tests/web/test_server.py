"""WebServer: it listens, answers and stops, or raises a one-line error."""

from __future__ import annotations

import asyncio
import signal
import socket
import urllib.request
from typing import Any

import pytest

from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.web.server import WebServer


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
        return body


def test_it_serves_on_a_free_port_and_releases_it() -> None:
    async def scenario() -> None:
        server = WebServer("page", "page")
        await server.stop()
        before = signal.getsignal(signal.SIGINT)
        port = await server.start(app, "localhost", 0)
        assert await asyncio.to_thread(get, port, "/a") == b"/a"
        assert signal.getsignal(signal.SIGINT) is before  # signals stay with the desk
        await server.stop()
        await server.stop()
        again = WebServer("page", "page")
        assert await again.start(app, "127.0.0.1", port) == port
        await again.stop()
    asyncio.run(scenario())


def test_a_name_with_two_addresses_is_served_on_that_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """As localhost on Debian 13. The daemon's own programs ask 127.0.0.1."""
    asked = socket.getaddrinfo

    def both(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        return [*asked("::1", port, *rest, **options), *asked("127.0.0.1", port, *rest, **options)]

    async def scenario() -> bytes:
        server = WebServer("page", "page")
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", both)
            port = await server.start(app, "localhost", 0)
        try:
            return await asyncio.to_thread(get, port, "/a")
        finally:
            await server.stop()
    assert asyncio.run(scenario()) == b"/a"


def test_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LcmDaemonError, match=f"^page: cannot listen on 127.0.0.1 port {port}: .*another web.port$"):
            asyncio.run(WebServer("page", "web").start(app, "127.0.0.1", port))


@pytest.mark.parametrize("host", ["", "192.0.2.1", "no such host"])
def test_unavailable_address_is_one_clear_line(host: str) -> None:
    with pytest.raises(LcmDaemonError, match=r"^page: cannot listen on [^\n]*$"):
        asyncio.run(WebServer("page", "web").start(app, host, 0))


@pytest.mark.parametrize("failing", ["Config", "Server"])
def test_failed_start_releases_the_port(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("refused")

    opened: list[socket.socket] = []
    listen = WebServer._listen

    async def remember(server: WebServer, host: str, port: int) -> socket.socket:
        opened.append(await listen(server, host, port))
        return opened[-1]

    monkeypatch.setattr(f"lcm_daemon.web.server.uvicorn.{failing}", refuse)
    monkeypatch.setattr(WebServer, "_listen", remember)
    with pytest.raises(RuntimeError, match="refused"):
        asyncio.run(WebServer("page", "page").start(app, "127.0.0.1", 0))
    assert [listener.fileno() for listener in opened] == [-1]


@pytest.mark.parametrize(("proxies", "sent", "client", "scheme"), [
    ((), "203.0.113.7", "127.0.0.1", "http"),
    (("10.0.0.0/8",), "203.0.113.7", "127.0.0.1", "http"),
    (("127.0.0.0/8",), "203.0.113.7", "203.0.113.7", "https"),
    (("127.0.0.0/8",), "10.9.9.9, 203.0.113.7", "203.0.113.7", "https"),  # a client may send the header too
    (("127.0.0.0/8",), "nonsense", "nonsense", "https"),
])
def test_a_proxy_is_believed_if_the_show_names_it(
    proxies: tuple[str, ...], sent: str, client: str, scheme: str,
) -> None:
    async def tell(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['client'][0]} {scope['scheme']}".encode()})

    def ask(port: int) -> bytes:
        headers = {"X-Forwarded-For": sent, "X-Forwarded-Proto": "https"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
            return body

    async def scenario() -> bytes:
        server = WebServer("page", "page", proxies=proxies)
        port = await server.start(tell, "127.0.0.1", 0)
        try:
            return await asyncio.to_thread(ask, port)
        finally:
            await server.stop()
    assert asyncio.run(scenario()).decode() == f"{client} {scheme}"
