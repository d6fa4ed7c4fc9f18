"""Limits of connections: a client that opens many, or says nothing, keeps no other client away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from lcm_daemon.core.metrics import Metrics
from lcm_daemon.web import limits, open_connections
from lcm_daemon.web.limits import LimitedListener
from lcm_daemon.web.server import App, WebServer
from tests.web.test_server import app, get


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed a connection."""
    connection.settimeout(0.2)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def listening(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads every message."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


def served(scenario: Callable[[int], None], metrics: Metrics, app: App = app) -> None:
    """Run a scenario beside a server that listens on a port."""
    async def run() -> None:
        server = WebServer("page", "page", metrics=metrics)
        port = await server.start(app, "127.0.0.1", 0)
        try:
            await asyncio.to_thread(scenario, port)
        finally:
            await server.stop()
    asyncio.run(run())


@pytest.mark.slow
def test_connections_beyond_the_limit_are_closed_and_make_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 2)
    metrics = Metrics()

    def scenario(port: int) -> None:
        opened = []
        for _ in range(5):
            opened.append(socket.create_connection(("127.0.0.1", port)))
            opened[-1].sendall(b"G")  # Linux holds back those that say nothing
            time.sleep(0.05)
        assert [is_closed(each) for each in opened] == [True, True, True, False, False], "those that wait go first"
        for each in opened:
            each.close()
        for _ in range(50):  # the server sees the end soon
            try:
                assert get(port, "/a") == b"/a"
                return
            except OSError:
                continue
        raise AssertionError("room was not freed")

    served(scenario, metrics)
    assert metrics.total("page/connections refused") >= 3


@pytest.mark.parametrize(("host", "has_room"), [
    ("192.0.2.1", False), ("192.0.2.2", True), ("172.17.0.1", True), ("fd00::", True), ("2001:db8::/64", False),
])
def test_a_proxy_speaks_for_many_clients(host: str, has_room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_OF_ADDRESS", 1)
    with LimitedListener() as listener, socket.socket() as one, socket.socket() as two, socket.socket() as three:
        listener.limit(lambda: None, ["172.16.0.0/12", "fd00::/64"])
        for each, known in ((one, "192.0.2.1"), (two, "172.17.0.1"), (three, "2001:db8::/64")):
            add_busy(listener, each, known)
        assert listener._make_room(host) is has_room


@pytest.mark.slow
def test_silence_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_connections, "HEAD_SECONDS", 0.1)

    def scenario(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: ")
            client.settimeout(20)
            assert client.recv(1) == b""

    served(scenario, Metrics())


@pytest.mark.slow
def test_a_second_request_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_connections, "HEAD_SECONDS", 0.3)

    def scenario(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(20)
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: ")
            while client.recv(1000):
                pass

    served(scenario, Metrics())


@pytest.mark.slow
@pytest.mark.parametrize("flood", [b"\x89\x80", b"\x8a\x80", b"\x00\x80"])
def test_a_flood_of_frames_that_no_app_reads_is_cut(flood: bytes) -> None:
    lines = (b"GET / HTTP/1.1", b"Host: a", b"Upgrade: websocket", b"Connection: Upgrade",
             b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13", b"", b"")
    beginning = b"\x01\x80\0\0\0\0" if flood[0] == 0 else b""  # a text whose end does not come
    frame = flood + b"\0\0\0\0"

    def is_cut(client: socket.socket) -> bool:
        try:
            client.sendall(frame * 20_000)
            return client.recv(1_000_000) == b""
        except ConnectionError:
            return True

    def scenario(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(20)
            client.sendall(b"\r\n".join(lines))
            assert b" 101 " in client.recv(1000)
            client.sendall(beginning + frame * 800)
            pongs = b""
            while flood[0] == 0x89 and len(pongs) < 1600:
                pongs += client.recv(4000)
            assert any(is_cut(client) for _ in range(100))

    served(scenario, Metrics(), listening)


WEBSOCKET = ("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")


@pytest.mark.parametrize("more", [
    "Origin: http://\x1b[2J\r\n", "X: \x01\r\n", "".join(f"X-{n}: 1\r\n" for n in range(200)), f"X: {'a' * 9000}\r\n",
    "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_websocket_s_request_that_cannot_be_parsed_is_refused(more: str) -> None:
    """uvicorn neither answers nor closes it, and it waits for no request: it would keep its place for ever."""
    def scenario(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(f"{WEBSOCKET}{more}\r\n".encode())
            assert client.recv(1024).startswith(b"HTTP/1.1 400 ")
            assert client.recv(1024) == b""

    served(scenario, Metrics(), listening)


def add_busy(listener: LimitedListener, sock: socket.socket, host: str) -> None:
    """Add a connection that does not wait for a request."""
    listener.connections.add(sock, sock.fileno(), host)
    listener.connections.set_protocol(sock.fileno(), Mock())  # a WebSocket: another protocol reads its transport


def test_one_address_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_OF_ADDRESS", 2)
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 4)
    with LimitedListener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.limit(lambda: None)
        kept = [socket.socket() for _ in range(5)]
        for host, has_room, connection in zip(
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "127.0.0.1"), (True, True, False, True, True), kept,
            strict=True,
        ):
            assert listener._make_room(host) == has_room
            if has_room:
                add_busy(listener, connection, host)
        kept[0].close()
        assert listener._make_room("10.0.0.1"), "a connection that has ended counts no more"
        for each in kept:
            each.close()


def test_a_newcomer_takes_the_place_of_one_that_waits_of_the_host_with_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 4)
    with contextlib.ExitStack() as stack, LimitedListener() as listener:
        refused: list[int] = []
        listener.limit(lambda: refused.append(1))
        one, two, three, four = (stack.enter_context(socket.socket()) for _ in range(4))
        add_busy(listener, one, "10.0.0.1")
        for each, host in ((two, "10.0.0.2"), (three, "10.0.0.1"), (four, "10.0.0.1")):
            listener.connections.add(each, each.fileno(), host)
        assert listener._make_room("10.0.0.3")
        assert list(listener.connections._open) == [one.fileno(), two.fileno(), four.fileno()]
        assert refused == [1]
        assert listener._make_room("127.0.0.1"), "this machine has places of its own"
        assert refused == [1]


def test_one_address_that_connects_again_and_again_is_refused_before_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_A_SECOND", 5)
    with LimitedListener() as listener:
        listener.limit(lambda: None, ["172.16.0.0/12"])
        listener._pace._now = lambda: listener._pace._begun
        assert [listener._make_room("10.0.0.1") for _ in range(8)] == [True] * 5 + [False] * 3
        assert listener._make_room("10.0.0.2")
        assert all(listener._make_room(host) for host in ("127.0.0.1", "172.17.0.1") for _ in range(20))
