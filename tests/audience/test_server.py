"""The audience server over real sockets, with a stage that gives each session pictures of its own colour."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket as sockets
import ssl
import threading
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from lcm_daemon.audience import queue, routes, seat_pixels, visitor_page
from lcm_daemon.audience.camera_frames import decode_into
from lcm_daemon.audience.messages import Performer
from lcm_daemon.controllers.panel.assets import load_page
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.network import AUTO, NetworkPolicy, TlsPolicy
from lcm_daemon.web import limits
from tests.conftest import need_module
from tests.rigs.audience import (
    PATIENCE,
    House,
    Phone,
    ask,
    colour_in,
    colour_of,
    is_near,
    jpeg_of,
    open_house,
)

pytestmark = pytest.mark.slow


def handles() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def settled(house: House) -> None:
    """Wait until every page has gone, and let what is done be forgotten."""
    async with asyncio.timeout(PATIENCE):
        while house.server._routes.open_pages:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    gc.collect()


async def play(house: House, phone: Phone) -> None:
    """Wait for the turn, use it to its end, and see nothing of others."""
    await phone.until(lambda p: p.phase == "turn")
    await phone.send(set={"prompt": f"of {phone.number}"}, camera="start")
    await phone.send_bytes(jpeg_of(colour_of(phone.number)))
    await phone.until(lambda p: p.ended == "time" and p.code == 4410)
    assert phone.pictures
    assert all(is_near(colour_in(each), colour_of(phone.number)) for each in phone.pictures)
    assert is_near(house.stage.cameras[phone.number], colour_of(phone.number))
    assert house.stage.values[phone.number] == {"prompt": f"of {phone.number}"}
    assert phone.errors == []


def test_eight_visitors_have_their_turns_in_order_and_see_their_own_pictures() -> None:
    async def scenario() -> None:
        async with open_house(places=3, queue=9, seconds=0.8) as house:
            before = handles()
            phones = [await house.visitor() for _ in range(8)]
            await asyncio.gather(*(play(house, phone) for phone in phones))
            assert house.stage.turns == [phone.number for phone in phones]
            await settled(house)
            assert house.stage.seats == {}
            server = house.server
            assert (len(server.lobby.sessions), len(server.lobby.queue), server.lobby._connections) == (0, 0, {})
            assert (server._pixels._numbers, server._pixels._waiting, server._kept._last) == ({}, {}, {})
            assert handles() <= before
            await house.until(lambda stage: stage.kept and [*stage.kept.state] == ["door"])
            assert "of 3" not in repr(house.stage.kept)
            for phone in phones:  # cookies of sessions that have ended open nothing
                again = Phone(house.port)
                again.cookie = phone.cookie
                await again.connect()
                await again.until(lambda p: p.code == 4410)
                assert again.hello == {}
            assert len(house.stage.turns) == 8

    asyncio.run(scenario())


def test_a_reload_goes_on_a_second_tab_takes_over_and_silence_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "SILENCE_SECONDS", 1.0)

    async def scenario() -> None:
        async with open_house(places=1, seconds=60) as house:
            phone, second = await house.visitor(), await house.visitor()
            await phone.send(set={"prompt": "ocean"})
            await phone.until(lambda p: p.values.get("prompt") == "ocean")
            await phone.drop()
            await asyncio.sleep(0.4)
            assert (await phone.join()).status == 200
            await phone.connect()
            await phone.until(lambda p: p.phase == "turn" and p.values.get("prompt") == "ocean" and p.pictures)
            tab = house.phone()
            tab.cookie = phone.cookie
            await tab.connect()
            await phone.until(lambda p: p.code == 4409)
            await tab.until(lambda p: p.phase == "turn" and p.pictures)
            assert house.stage.turns == [phone.number]
            await tab.drop()
            async with asyncio.timeout(PATIENCE):
                while house.stage.turns == [phone.number]:
                    await second.send(here=True)
                    await asyncio.sleep(0.1)
            assert house.stage.seats == {0: second.number}
            assert house.counts("ended/") == {"ended/silent": 1}

    asyncio.run(scenario())


def test_hostile_visitors_take_no_turn_from_others(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(routes, "GUESSES_AT_ONCE", 5)
    caplog.set_level(logging.WARNING)

    async def guess(house: House) -> None:
        statuses = []
        for n in range(12):
            liar = house.phone()
            liar.cookie = f"{routes.COOKIE}_{house.port}={'a' * 42}{n % 10}"
            try:
                await liar.connect()
            except InvalidStatus as error:
                statuses.append(error.response.status_code)
                continue
            await liar.until(lambda p: p.code)
            statuses.append(liar.code)
        assert statuses[:5] == [4410] * 5
        assert statuses[-3:] == [403] * 3
        assert (await ask(house.port, "/join", "POST", "lcm_visitor_1=x; " * 200)).status in (201, 400, 431)

    async def send_too_much(phone: Phone) -> None:
        assert phone.socket is not None
        await phone.send(set={"prompt": "x" * 7000})
        await phone.send(set={"prompt": "x" * 200_000})
        await phone.send(set={"seed": 1, "cue/go": 1, "recipe": "sd-turbo", "__class__": 1})
        await phone.send(command="panic", cue="1", picture="more", camera="now", here=None)
        for text in ("", "{", "[]", "1", '{"set":' * 500, '{"set":{"strength":NaN}}', '{"set":{"strength":1e999}}',
                     "\0"):
            await phone.socket.send(text)
        await phone.send(camera="start")
        for data in (b"", b"\xff\xd8", os.urandom(5000), jpeg_of((9, 9, 9), (2049, 2049)),
                     jpeg_of((9, 9, 9), progressive=True), jpeg_of((9, 9, 9))[:250]):
            acks = phone.acks
            await phone.send_bytes(data)
            await phone.until(lambda p, acks=acks: p.acks > acks)
            await asyncio.sleep(0.07)
        await phone.send_bytes(b"\0" * 1_100_000)  # beyond the limit of a message: the connection ends
        await phone.until(lambda p: p.code == 1009)

    async def scenario() -> None:
        async with open_house(places=1, queue=12, seconds=60) as house:
            honest, hostile = await house.visitor(), await house.visitor()
            console = next(path for path in load_page() if path.startswith("/assets/index"))
            for path in ("/ws", "/parameters.json", "/index.html", "/pictures", "/join/ws", "/assets/../server.py",
                         "/join/../index.html", "/join/%2e%2e/index.html", "/frame.jpg", "/view", "/pin", console):
                assert (await ask(house.port, path)).status == 404, path
            for method in ("PUT", "DELETE", "PATCH"):
                assert (await ask(house.port, "/join", method)).status == 405
            assert (await ask(house.port, "/join", "POST", Origin="https://evil.example")).status == 403
            assert (await ask(house.port, "/join", Host="evil.example")).status == 403
            assert (await ask(house.port, f"/{'x' * 100_000}")).status in (400, 404, 414, 431)
            await guess(house)
            house.stage.send(Performer("skip", honest.number))
            await hostile.until(lambda p: p.phase == "turn")
            await send_too_much(hostile)
            assert house.stage.values.get(hostile.number, {}) == {}
            assert house.stage.cameras == {}
            await hostile.connect()  # its turn is not lost
            await hostile.until(lambda p: p.phase == "turn" and p.left > 40)
            await asyncio.gather(*(_try_to_join(house.port) for _ in range(40)))
            assert len(house.server.lobby.queue) <= 13
            third = next(n for n in (v.session for v in house.server.lobby.queue.waiting()))
            assert third > hostile.number
            await honest.drop()

    asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    texts = {line.split(" (")[0] for line in lines}
    assert len(texts) <= 6, texts
    assert len(lines) <= 24, lines
    assert not any("x" * 20 in line or "evil" in line for line in lines)


async def _try_to_join(port: int) -> None:
    assert (await ask(port, "/join", "POST")).status in (201, 503)


def test_a_slow_reader_loses_pictures_and_then_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitor_page, "SEND_SECONDS", 0.5)
    monkeypatch.setattr(limits, "END_SECONDS", 0.5)

    async def scenario() -> None:
        async with open_house(places=2, seconds=60) as house:
            phone, slow = await house.visitor(), house.phone()
            await slow.join()
            before = handles()
            raw = sockets.create_connection(("127.0.0.1", house.port))
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
            key = "dGhlIHNhbXBsZSBub25jZQ=="
            raw.sendall("\r\n".join([
                "GET /join/ws HTTP/1.1", f"Host: 127.0.0.1:{house.port}", "Upgrade: websocket", "Connection: Upgrade",
                f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"Cookie: {slow.cookie}", "", ""]).encode())
            page = await house.until(lambda _: house.server.lobby.connection_in(1, slow.number))
            page.put_picture(os.urandom(32_000_000))
            await house.until(lambda _: house.counts("closed/slow"))
            shown = len(phone.pictures)
            await phone.until(lambda p: len(p.pictures) > shown + 10)  # others are not held up
            await house.until(lambda _: house.server._routes.open_pages == 1)
            await house.until(lambda _: handles() <= before + 1)  # the server's end is closed
            raw.close()

    asyncio.run(scenario())


def test_a_page_that_answers_no_picture_gets_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_house(places=1, seconds=60, keep=str(tmp_path / "kept")) as house:
            phone = house.phone()
            phone.answers = False
            await phone.arrive()
            await phone.until(lambda p: len(p.pictures) == visitor_page.IN_FLIGHT)
            await asyncio.sleep(0.2)
            assert len(phone.pictures) == visitor_page.IN_FLIGHT
            house.stage.verdict = False
            await phone.until(lambda p: p.withheld)
            await phone.send(picture="ack")
            await asyncio.sleep(0.1)
            assert len(phone.pictures) == visitor_page.IN_FLIGHT  # no picture without its verdict
            assert not (tmp_path / "kept").exists()
            await phone.send(leave=True)
            await phone.until(lambda p: p.ended == "left")
            async with asyncio.timeout(PATIENCE):
                while not list((tmp_path / "kept").glob("*-1.jpg")):
                    await asyncio.sleep(0.02)
            kept, = (tmp_path / "kept").iterdir()
            assert is_near(colour_in(kept.read_bytes()), colour_of(1))

    asyncio.run(scenario())


def test_a_visitor_who_leaves_while_a_frame_is_decoded_takes_no_camera_from_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def decode_slowly(jpeg: bytes, out: Pixels) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        decode_into(jpeg, out)

    monkeypatch.setattr(seat_pixels, "decode_into", decode_slowly)

    async def scenario() -> None:
        async with open_house(places=1, seconds=60) as house:
            phone, second = await house.visitor(), await house.visitor()
            await phone.send(camera="start")
            await phone.send_bytes(jpeg_of(colour_of(phone.number)))
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            house.stage.send(Performer("skip", phone.number))
            await second.until(lambda p: p.phase == "turn")
            await phone.until(lambda p: p.code == 4410)
            await second.send(camera="start")
            go_on.set()
            while second.number not in house.stage.cameras:
                await second.send_bytes(jpeg_of(colour_of(second.number)))
                await second.until(lambda p, acks=second.acks: p.acks > acks)
            assert is_near(house.stage.cameras[second.number], colour_of(second.number))
            assert phone.number not in house.stage.cameras

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_the_stage_reads_slowly_and_the_newest_frame_counts() -> None:
    async def scenario() -> None:
        async with open_house(places=1, seconds=60) as house:
            phone = await house.visitor()
            await phone.send(camera="start")
            house.stage.reads_frames = False
            for n in range(3):
                await phone.send_bytes(jpeg_of(colour_of(n)))
                await phone.until(lambda p, n=n: p.acks == n + 1)
                await asyncio.sleep(0.07)
            assert house.stage.numbers == {1: [0]}
            assert house.counts("camera/") == {"camera/frames": 1, "camera/dropped": 2}

    asyncio.run(scenario())


def test_over_tls_the_cookie_is_for_tls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("cryptography")
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    async def scenario() -> None:
        async with open_house(network=NetworkPolicy(tls=TlsPolicy(AUTO)), places=1, seconds=60) as house:
            phone = Phone(house.port, trusting)
            answer = await phone.join()
            cookie, = answer.headers["set-cookie"]
            assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
                "httponly", "secure", "samesite=strict", "path=/join", "max-age=86400"}
            await phone.connect()
            await phone.until(lambda p: p.phase == "turn" and p.pictures)
            await phone.drop()
        async with open_house(places=1) as house:
            assert "Secure" not in (await ask(house.port, "/join", "POST")).headers["set-cookie"][0]
            assert (await ask(house.port, "/", Host="127.0.0.1")).headers["location"] == ["/join"]
            assert (await ask(house.port, "/health")).json() == {"open": True}

    asyncio.run(scenario())


def test_a_later_server_goes_on_and_the_address_of_the_show_is_accepted() -> None:
    async def scenario() -> None:
        async with open_house(places=1, seconds=60) as house:
            phone, second = await house.visitor(), await house.visitor()
            await phone.send(set={"prompt": "ocean"})
            await house.until(lambda stage: stage.kept and "ocean" in repr(stage.kept))
            kept, old = house.stage.kept, house.port
            await second.drop()
        policy = NetworkPolicy(hosts=("other.example",))
        async with open_house(kept, policy, places=1, seconds=60, address="https://play.example.org:444/") as later:
            later.port = later.server._routes._config.audience.port or later.port
            assert later.stage.address == "https://play.example.org:444/join"
            await later.until(lambda stage: stage.values)
            assert later.stage.turns == [phone.number]
            assert later.stage.values[phone.number]["prompt"] == "ocean"
            token = phone.cookie.replace(str(old), str(later.port))
            assert later.server.lobby.sessions.find(token.partition("=")[2]) is not None

    asyncio.run(scenario())
