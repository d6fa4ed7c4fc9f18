"""A hostile client of a panel that is open to the network: it finds refusals only.

Clients of this machine play without the pin, so the shows here ask them for it too (`local_pin`), as others are asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lcm_daemon.controllers.oscquery.controller import OscQuery
from lcm_daemon.controllers.panel import server
from lcm_daemon.controllers.panel.controller import Panel
from lcm_daemon.core.network import AccessPolicy, NetworkPolicy, TlsPolicy
from lcm_daemon.web.pin import ADDRESS_BURST, hash_pin
from lcm_daemon.web.seats import KEPT
from tests.conftest import need_module
from tests.rigs.browser import tab
from tests.rigs.oscquery_peer import pack
from tests.rigs.panel import PATIENCE, Answer, Page, Rig, get, request, serving, until, visiting

pytestmark = pytest.mark.slow  # each test opens sockets and waits for their other end

PIN = "48151623"
REFUSED = "view only: enter the pin to play"


def rig_with(**policy: Any) -> Rig:
    rig = Rig()
    rig.controls.network = NetworkPolicy(access=AccessPolicy(**{"pin": PIN, "local_pin": True, **policy}))
    return rig


async def post(panel: Panel, body: str, path: str = "/pin", **headers: str) -> Answer:
    return await request(panel, "POST", path, body, Content_Type="application/x-www-form-urlencoded", **headers)


async def enter(panel: Panel, pin: str = PIN, **headers: str) -> Answer:
    return await post(panel, urlencode({"pin": pin}), **headers)


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


@contextlib.asynccontextmanager
async def looking(panel: Panel, **headers: str) -> AsyncIterator[Page]:
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    async with visiting(panel, additional_headers=sent) as page:
        yield page


def test_a_viewer_sees_everything_and_changes_nothing() -> None:
    async def scenario() -> None:
        rig = rig_with()
        async with serving(rig) as panel, looking(panel) as viewer:
            assert viewer.hello["role"] == "view"
            rig.show()
            assert await viewer.picture()
            rig.move("strength", 0.9)
            assert await viewer.heard("changes") == [{"name": "strength", "value": 0.9, "origin": "osc/127.0.0.1:9"}]
            for message in ({"set": {"strength": 0.1}}, {"command": "panic"}, {"camera": "start"}, b"\xff\xd8jpeg",
                            {"command": {"name": "cue/record", "arguments": ["x"]}}):
                await viewer.send(message)
                assert await viewer.heard("error") == REFUSED
            await viewer.send({"set": {"strength": 0.2}})
            assert await viewer.heard("changes") == [{"name": "strength", "value": 0.9, "origin": "panel/1"}], \
                "its page shows the value in force again"
            assert (await get(panel, "/health")).status == 200
            for method, path in (("POST", "/pictures"), ("DELETE", "/pictures/1"), ("PUT", "/"), ("PATCH", "/health")):
                answer = await request(panel, method, path, "x")
                assert (answer.status, answer.body.decode().strip()) == (403, REFUSED)
            assert (rig.taken, rig.called) == ([], [])
            assert rig.controls.metrics.counts("desk/viewer/refused") == {"desk/viewer/refused": 6}
            assert [row["role"] for row in rig.controls.lists["clients"]] == ["view"]
        assert rig.controls.viewers == set()

    asyncio.run(scenario())


@pytest.mark.parametrize("pin", [PIN, hash_pin(PIN)], ids=["as it is", "hashed"])
def test_the_pin_lets_a_client_play(pin: str) -> None:
    async def scenario() -> None:
        rig = rig_with(pin=pin)
        async with serving(rig) as panel:
            answer = await enter(panel)
            assert answer.status == 204
            flags = answer.headers["set-cookie"].split("; ")[1:]
            assert flags == ["Path=/", "HttpOnly", "SameSite=Strict"]
            async with looking(panel, Cookie=f"theme=dark; {cookie_of(answer)}") as player:
                assert player.hello["role"] == "play"
                await player.send({"set": {"strength": 0.25}})
                await until(lambda: rig.taken)
            assert (await enter(panel)).headers["set-cookie"] != answer.headers["set-cookie"]

    asyncio.run(scenario())


def test_pins_cannot_be_guessed() -> None:
    async def scenario() -> None:
        rig = rig_with()
        async with serving(rig) as panel:
            guesses = [await enter(panel, f"{n:06}") for n in range(ADDRESS_BURST)]
            assert {guess.status for guess in guesses} == {401}
            assert all("set-cookie" not in guess.headers for guess in guesses)
            late = await asyncio.gather(*(enter(panel, guess) for guess in [PIN] * 8))
            assert {answer.status for answer in late} == {429}, "now even the pin is not compared"
            assert late[0].body.decode().startswith("too many guesses: try again in ")
            for forwarded in ("10.0.0.9", "127.0.0.1"):
                answer = await enter(panel, PIN, X_Forwarded_For=forwarded)
                assert answer.status == 429, "an address that a client claims does not count"

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [
    "", "pin=", "pin", "=", "pin=%00", "pin=" + "9" * 100, "pin=" + "%F0%9F%98%80" * 20, "to=/output", "&" * 500,
    "pin=\ufffd", "{}",
])
def test_what_is_no_pin_is_refused(body: str) -> None:
    async def scenario() -> None:
        async with serving(rig_with()) as panel:
            answer = await post(panel, body)
            assert answer.status == 401
            assert "set-cookie" not in answer.headers

    asyncio.run(scenario())


def test_oversized_pins_and_slow_bodies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lcm_daemon.web.access.BODY_SECONDS", 0.1)

    async def scenario() -> None:
        rig = rig_with()
        async with serving(rig) as panel:
            assert (await post(panel, "pin=" + "1" * 2000)).status == 413
            with contextlib.suppress(ConnectionError):  # the server closes before it has read it
                assert (await post(panel, "pin=" + "1" * 2_000_000)).status == 413
            assert (await post(panel, f"pin={PIN}", Content_Length="2000")).status == 413
            assert (await enter(panel)).status == 204, "and none of them was a guess"

    asyncio.run(scenario())


def test_forged_cookies_and_foreign_pages_are_refused() -> None:
    async def scenario() -> None:
        rig = rig_with()
        async with serving(rig) as panel:
            good = cookie_of(await enter(panel))
            name, _, token = good.partition("=")
            forged = [f"{name}={token[:-1]}", f"{name}={token}x", f"{name}={token.upper()}", f"{name}=", f"{name}",
                      f"{name}={'a' * 5000}", ";" * 4000, f"x={token}", f"{name}x={token[::-1]}"]
            for cookie in forged:
                async with looking(panel, Cookie=cookie) as page:
                    assert page.hello["role"] == "view"
            foreign = {"Origin": "https://evil.example"}
            assert (await enter(panel, PIN, **foreign)).status == 403
            assert (await enter(panel, PIN, Host="evil.example")).status == 403
            assert (await get(panel, "/output", Cookie=good, Host="evil.example")).status == 403
            for path in ("/ws", "/ws/output"):
                for headers in ({"Cookie": good, **foreign}, {"Cookie": good, "Origin": "null"}):
                    with pytest.raises(InvalidStatus):
                        await connect(f"ws://127.0.0.1:{panel.port}{path}", additional_headers=headers, proxy=None)
            assert "frame-ancestors 'self'" in (await get(panel, "/", Cookie=good)).headers["content-security-policy"]

    asyncio.run(scenario())


def test_without_access_there_is_a_pin_field_and_nothing_else() -> None:
    async def scenario() -> None:
        rig = rig_with(others="none")
        async with serving(rig) as panel:
            rig.show()
            for path in ("/", "/output", "/view", "/health", "/frame.jpg", "/stream.mjpg", "/parameters.json",
                         "/input.jpg", "/index.html", "/thumbnails/a", "/nothing"):
                answer = await get(panel, path)
                assert answer.status == 401
                assert b'name="pin"' in answer.body
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            for path in ("/ws", "/ws/output"):
                with pytest.raises(InvalidStatus):
                    await connect(f"ws://127.0.0.1:{panel.port}{path}", proxy=None)
            assert (await request(panel, "POST", "/pictures", "x")).status == 401
            wrong = await post(panel, urlencode({"pin": "000000", "to": "/output"}))
            assert wrong.status == 401
            assert b'value="/output"' in wrong.body
            for to, lands in (("/output", "/output"), ("//evil.example", "/"), ("https://evil.example", "/"),
                              ("/x", "/")):
                answer = await post(panel, urlencode({"pin": PIN, "to": to}))
                assert (answer.status, answer.headers["location"]) == (303, lands)
            quoted = await post(panel, urlencode({"pin": "0", "to": '"><script>'}))
            assert b"<script>" not in quoted.body
            cookie = cookie_of(answer)
            assert (await get(panel, "/health", Cookie=cookie)).status == 200
            async with looking(panel, Cookie=cookie) as page:
                assert page.hello["role"] == "play"

    asyncio.run(scenario())


def test_a_browser_sends_the_pin_by_the_form(devtools: str) -> None:
    """A form of a page that sends no referrer comes from the origin "null", which the server refuses."""
    async def scenario() -> None:
        rig = rig_with(others="none")
        async with serving(rig) as panel, tab(devtools) as screen:
            await screen.call("Page.navigate", url=f"{panel.address}/output")
            await screen.until("document.querySelector('#pin') !== null")
            await screen.write("#pin", PIN)
            await screen.click("button")
            await screen.until("location.pathname === '/output' && document.querySelector('canvas') !== null")
            await until(lambda: [row["role"] for row in rig.controls.lists.get("clients", ())] == ["play"])

    asyncio.run(scenario())


def test_what_a_client_sends_ends_no_connection_and_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(rig_with()) as panel, looking(panel) as viewer:
            await viewer.send('{"beat": 1' + 400 * "0" + ', "set": {"strength": 0.1}}')
            assert await viewer.heard("error") == REFUSED
            assert (await get(panel, f"/thumbnails/pictures/{5000 * '1'}.jpg")).status == 414

    asyncio.run(scenario())
    assert "Traceback" not in caplog.text


def test_a_viewer_takes_no_seat_from_those_who_play_and_its_flood_is_read_slowly(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLIENT_LIMIT", KEPT + 1)

    async def scenario() -> None:
        rig = rig_with()
        async with serving(rig) as panel, contextlib.AsyncExitStack() as stack:
            cookie = cookie_of(await enter(panel))
            flooding = await stack.enter_async_context(looking(panel))
            with pytest.raises(ConnectionClosed, match="1013"):
                await stack.enter_async_context(looking(panel))
            for _ in range(200):
                await flooding.send({"set": {"strength": 0.1}})
            await stack.enter_async_context(looking(panel, Cookie=cookie))
            assert rig.controls.metrics.total("desk/viewer/refused") < 200
            flooding.socket.transport.abort()  # it does not wait until everything was read

    asyncio.run(scenario())


def test_sessions_outlive_the_desk_but_not_the_daemon() -> None:
    async def scenario() -> None:
        rig = rig_with()
        async with serving(rig) as panel:
            cookie = cookie_of(await enter(panel))
            async with looking(panel, Cookie=cookie) as page:
                assert page.hello["role"] == "play"
        next_desk, next_daemon = rig_with(), rig_with()
        next_desk.controls.kept = json.loads(json.dumps(rig.controls.kept))
        for each, role in ((next_desk, "play"), (next_daemon, "view")):
            async with serving(each) as panel, looking(panel, Cookie=cookie) as page:
                assert page.hello["role"] == role

    asyncio.run(scenario())


def test_programs_on_this_machine_play_without_the_pin() -> None:
    async def scenario() -> None:
        async with serving(rig_with(local_pin=False)) as panel:
            async with visiting(panel) as page:
                assert page.hello["role"] == "play"
            async with looking(panel, X_Forwarded_For="10.0.0.9") as page:
                assert page.hello["role"] == "view", "a proxy speaks for others"

    asyncio.run(scenario())


def test_with_tls_the_cookie_is_secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("cryptography", "cryptography")
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))

    async def scenario() -> None:
        rig = rig_with()
        rig.controls.network = replace(rig.controls.network, tls=TlsPolicy("auto"))
        async with serving(rig) as panel:
            assert panel.address.startswith("https://")
            trusting = ssl.create_default_context(cafile=str(tmp_path / "tls-certificate.pem"))
            body = urlencode({"pin": PIN}).encode()
            request = urllib.request.Request(f"{panel.address}/pin", body)
            answer = await asyncio.to_thread(
                lambda: urllib.request.urlopen(request, context=trusting, timeout=PATIENCE))
            assert answer.headers["Set-Cookie"].endswith("; Secure")
            headers = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
            url = f"wss://127.0.0.1:{panel.port}/ws"
            async with connect(url, ssl=trusting, additional_headers=headers, proxy=None, max_size=None) as page:
                assert json.loads(await page.recv())["hello"]["role"] == "play"

    asyncio.run(scenario())


def test_oscquery_knows_the_same_sessions() -> None:
    async def scenario() -> None:
        rig = rig_with()
        query = OscQuery(rig.controls, {"port": 0, "mdns": False})
        await query.start()
        try:
            async with serving(rig) as panel:
                url = f"ws://127.0.0.1:{query.port}/"
                async with connect(url, proxy=None) as viewer, asyncio.timeout(PATIENCE):
                    await viewer.send(json.dumps({"COMMAND": "LISTEN", "DATA": "/lcm/strength"}))
                    await viewer.send(pack("/lcm/strength", "f", 0.1))
                    await viewer.send(pack("/lcm/panic"))
                    assert REFUSED.encode() in await viewer.recv()
                    rig.move("strength", 0.9)
                    while b"/lcm/strength" not in await viewer.recv():
                        pass
                assert (rig.taken, rig.called) == ([], [])
                headers = {"Cookie": cookie_of(await enter(panel))}
                async with connect(url, additional_headers=headers, proxy=None) as player:
                    await player.send(pack("/lcm/strength", "f", 0.25))
                    await until(lambda: [change.value for change in rig.taken] == [0.25])
        finally:
            await query.stop()

    asyncio.run(scenario())
