"""Visitors and the stage, end to end: two seats with their own prompts and cameras, the performer's skip and block."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.rigs.audience import Phone, colour_in, is_near, jpeg_of
from tests.rigs.daemon import Daemon, free_port, wait_for

RED, BLUE = (200, 40, 40), (40, 40, 200)


def show(port: int, **audience: Any) -> dict[str, Any]:
    return {"recipe": "passthrough", "output": {"size": [64, 64], "crossfade": 0.1}, "resume": False,
            "audience": {"places": 2, "seconds": 600, "port": port, "parameters": ["prompt", "strength"], **audience}}


def command(daemon: Daemon, address: str, *arguments: Any) -> None:
    """Send a command of the performer by OSC."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(encode(f"/lcm/audience/{address}", list(arguments)), ("127.0.0.1", daemon.osc_port))


def output(daemon: Daemon) -> tuple[int, int, int]:
    """The colour in the middle of the output."""
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.panel_port}/frame.jpg", timeout=5) as answer:
        return colour_in(answer.read())


@asynccontextmanager
async def filming(phone: Phone, colour: tuple[int, int, int]) -> AsyncIterator[None]:
    """Let a phone send pictures of one colour while the block runs."""
    await phone.send(camera="start")

    async def film() -> None:
        while True:
            acks = phone.acks
            await phone.send_bytes(jpeg_of(colour))
            await phone.until(lambda each, acks=acks: each.acks > acks)
            await asyncio.sleep(0.05)

    work = asyncio.create_task(film())
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def eventually(condition: Any, what: str) -> None:
    await asyncio.to_thread(wait_for, condition, 20.0, what)


def test_two_visitors_have_their_own_pictures_and_the_performer_decides(tmp_path: Path) -> None:
    port = free_port()
    with Daemon(tmp_path, show(port, wall="one")) as daemon:
        daemon.wait_rendering()
        asyncio.run(play(daemon, port))


async def play(daemon: Daemon, port: int) -> None:
    red, blue, third = Phone(port), Phone(port), Phone(port)
    for phone in (red, blue, third):
        await phone.arrive()
    await red.until(lambda phone: phone.phase == "turn")
    await blue.until(lambda phone: phone.phase == "turn")
    assert third.phase in ("", "waiting")
    await red.until(lambda phone: phone.pictures)  # of the show's source, before its camera starts
    async with filming(red, RED), filming(blue, BLUE):
        await red.until(lambda phone: is_near(colour_in(phone.pictures[-1]), RED))
        await blue.until(lambda phone: is_near(colour_in(phone.pictures[-1]), BLUE))
        from_here = len(red.pictures), len(blue.pictures)
        command(daemon, "show", blue.number)
        await eventually(lambda: is_near(output(daemon), BLUE), "the output with the blue picture")
        command(daemon, "show", red.number)
        await eventually(lambda: is_near(output(daemon), RED), "the output with the red picture")
        await red.send(set={"prompt": "ink", "freeze": True})
        await red.until(lambda phone: phone.values.get("prompt") == "ink")
        assert await asyncio.to_thread(lambda: (daemon.values()["prompt"], daemon.values()["freeze"])) != ("ink", True)
        assert all(is_near(colour_in(picture), RED) for picture in red.pictures[from_here[0]:])
        assert all(is_near(colour_in(picture), BLUE) for picture in blue.pictures[from_here[1]:])
        await eventually(lambda: daemon.status()["audience"] == "2 play, 1 wait", "what a later server is told")
        await kill_server(daemon, red, blue, third)
        command(daemon, "skip", red.number)
        await red.until(lambda phone: phone.ended == "skipped")
    await third.until(lambda phone: phone.phase == "turn")
    command(daemon, "block", third.number)
    await third.until(lambda phone: phone.ended == "blocked")
    command(daemon, "close")
    await eventually(lambda: "closed" in daemon.status()["audience"], "closed doors")
    assert (await Phone(port).join()).status == 503
    command(daemon, "skip", 999)
    await eventually(lambda: "no session 999" in daemon.log(), "a refusal")
    for phone in (red, blue, third):
        await phone.drop()


async def kill_server(daemon: Daemon, *phones: Phone) -> None:
    """The server's process dies: another one has the sessions, and visitors connect again."""
    status = await asyncio.to_thread(daemon.status)
    pid = int(status["audience_pid"])
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: daemon.status()["audience_pid"] not in (0, pid), "another server")
    await eventually(lambda: daemon.log().count("serving visitors") == 2, "a server that listens")
    for phone in phones:
        phone.phase = ""
        await phone.connect()
        await phone.until(lambda each: each.phase)

