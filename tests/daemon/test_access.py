"""A running daemon that is open to the network, and a hostile client there: it finds refusals only."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from lcm_daemon.core.local_addresses import network_addresses
from tests.conftest import need
from tests.rigs.daemon import Daemon, free_port, wait_for
from tests.rigs.oscquery_peer import pack

pytestmark = [pytest.mark.daemon, pytest.mark.slow]

PIN = "48151623"
REFUSED = "view only: enter the pin to play"


def ask(host: str, port: int, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request(method, path, body or None, {name.replace("_", "-"): text for name, text in headers.items()})
    return connection.getresponse()


def enter(host: str, port: int, pin: str = PIN) -> http.client.HTTPResponse:
    return ask(host, port, "POST", "/pin", urllib.parse.urlencode({"pin": pin}),
               Content_Type="application/x-www-form-urlencoded")


async def role(host: str, port: int, cookie: str = "") -> str:
    """What the page's first message says that this client may do."""
    async with connect(f"ws://{host}:{port}/ws", additional_headers={"Cookie": cookie}, proxy=None) as page:
        found: str = json.loads(await page.recv())["hello"]["role"]
        return found


async def try_everything(host: str, port: int, query: int) -> list[str]:
    """Request all that changes something; return the answers."""
    answers: list[str] = []
    async with connect(f"ws://{host}:{port}/ws", proxy=None) as page, asyncio.timeout(30):
        for message in ({"set": {"strength": 0.123}}, {"command": "panic"}, {"camera": "start"}, b"\xff\xd8\xff",
                        {"command": {"name": "cue/record", "arguments": ["mine"]}}):
            await page.send(message if isinstance(message, bytes) else json.dumps(message))
            while "error" not in (found := _parsed(await page.recv())):
                pass
            answers.append(found["error"])
    async with connect(f"ws://{host}:{query}/", proxy=None) as peer:
        await peer.send(pack("/lcm/strength", "f", 0.123))
        await asyncio.wait_for(peer.recv(), 10)  # /lcm/error
    with contextlib.suppress(InvalidStatus):
        async with connect(f"ws://{host}:{port}/ws", origin="https://evil.example", proxy=None):
            answers.append("a foreign page is let in")
    return answers


def opened(folder: Path, port: int, show: dict[str, Any]) -> Daemon:
    """A daemon whose page is open to the network."""
    daemon = Daemon(folder, {**show, "panel": {"host": "0.0.0.0", "port": port}})
    daemon.panel_port = port
    return daemon


def _parsed(message: str | bytes) -> dict[str, Any]:
    return json.loads(message) if isinstance(message, str) else {}


def test_a_hostile_client_finds_refusals_only(tmp_path: Path) -> None:
    need(bool(network_addresses()), "this machine has no network")
    host, query = network_addresses()[0], free_port()
    show = {"recipe": "passthrough", "resume": False, "network": {"access": {"pin": PIN}},
            "oscquery": {"host": "0.0.0.0", "port": query, "mdns": False}}
    port = free_port()
    with opened(tmp_path, port, show) as daemon:
        before = wait_for(daemon.values, what="the values")
        assert asyncio.run(try_everything(host, port, query)) == [REFUSED] * 5
        assert [enter(host, port, f"{n:08}").status for n in range(6)] == [401] * 5 + [429]
        assert enter(host, port).status == 429, "after too many guesses even the pin is not compared"
        for method, path in (("POST", "/pictures"), ("DELETE", "/pictures/1"), ("POST", "/"), ("PUT", "/health")):
            assert ask(host, port, method, path, "x").status == 403
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            assert ask(host, port, "GET", "/health", **headers).status == 403
        assert ask(host, port, "GET", "/frame.jpg", Referer="https://evil.example/").headers[
            "Cross-Origin-Resource-Policy"] == "same-origin"
        assert daemon.values() == before
        answer = enter("127.0.0.1", port)  # this machine's own guesses count apart
        assert answer.status == 204
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        assert asyncio.run(role(host, port, cookie)) == "play"
        assert asyncio.run(role(host, port)) == "view"
        assert asyncio.run(role("127.0.0.1", port)) == "play", "programs on this machine need no pin"
        daemon.kill_desk()
        wait_for(daemon.status, what="the next desk")
        assert asyncio.run(role(host, port, cookie)) == "play", "a session outlives the desk"
        wait_for(lambda: "open to the network:" in daemon.log(), what="the opening screen")
        assert f"http://{host}:{port}" in daemon.log()
        assert "page: others see the page and change nothing without the pin" in daemon.log()
        assert PIN not in daemon.log()
    with opened(tmp_path, port, show):
        assert asyncio.run(role(host, port, cookie)) == "view", "a session ends with the daemon"
