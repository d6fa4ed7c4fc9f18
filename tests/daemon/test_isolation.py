"""No pixel, value or prompt of one session reaches another one: in a running daemon, with two engines."""

from __future__ import annotations

import asyncio
import io
import socket
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.daemon.test_audience_show import command, filming
from tests.rigs import marking_pipeline
from tests.rigs.audience import Phone, is_near
from tests.rigs.daemon import Daemon, free_port
from tests.rigs.marking_pipeline import Marks, checksum, read_marks

COLOURS = {"first": (200, 40, 40), "second": (40, 40, 200), "third": (40, 200, 40)}
STRENGTHS = {"first": 0.1, "second": 0.9, "third": 0.3}
SHOWN, SHOWN_STRENGTH = "the show's own", 0.5
ENOUGH = 12  # pictures of each visitor


def marks_of(jpeg: bytes) -> Marks:
    return read_marks(np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))


def check(phone: Phone, name: str) -> None:
    """Every picture that a visitor has got is their own."""
    low, high = sorted((SHOWN_STRENGTH, STRENGTHS[name]))
    for number, jpeg in enumerate(phone.pictures):
        marks = marks_of(jpeg)
        assert marks.session == phone.number, f"{name}, picture {number}"
        assert marks.prompt in (checksum(SHOWN), checksum(f"session {name}")), f"{name}, picture {number}"
        assert low - 0.03 <= marks.strength <= high + 0.03, f"{name}, picture {number}"
        assert not marks.is_foreign, f"{name}, picture {number}"
        for other in COLOURS.keys() - {name}:
            assert not is_near(marks.colour, COLOURS[other]), f"{name}, picture {number}"


def is_own(phone: Phone, name: str) -> bool:
    """Whether the newest picture has all that the visitor has set."""
    if not phone.pictures:
        return False
    marks = marks_of(phone.pictures[-1])
    return (is_near(marks.colour, COLOURS[name]) and marks.prompt == checksum(f"session {name}")
            and abs(marks.strength - STRENGTHS[name]) < 0.03)


def has_pictures(phone: Phone, count: int) -> bool:
    return len(phone.pictures) >= count


def test_nothing_of_a_session_is_in_the_pictures_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    marking_pipeline.install(monkeypatch, tmp_path)
    show: dict[str, Any] = {
        "recipe": {"base": "passthrough", "pipeline": "marking"}, "output": {"size": [128, 128]}, "resume": False,
        "engines": {"device": "cpu", "engines": 2},
        "parameters": {"prompt": SHOWN, "strength": SHOWN_STRENGTH, "feedback": 0.5},
        "audience": {"places": 2, "seconds": 600, "port": port, "parameters": ["prompt", "strength"]},
    }
    with Daemon(tmp_path, show) as daemon:
        daemon.wait_rendering()
        asyncio.run(play(daemon, port))


async def play(daemon: Daemon, port: int) -> None:
    phones = {name: Phone(port) for name in COLOURS}
    for phone in phones.values():
        await phone.arrive()
    first, second, third = phones.values()
    async with filming(first, COLOURS["first"]), filming(second, COLOURS["second"]):
        await compare(daemon, {"first": first, "second": second})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:  # no memory: both engines render each session
            sender.sendto(encode("/lcm/feedback", [0.0]), ("127.0.0.1", daemon.osc_port))
        await compare(daemon, {"first": first, "second": second})
        command(daemon, "skip", first.number)
        await third.until(lambda phone: phone.phase == "turn")
        async with filming(third, COLOURS["third"]):
            await compare(daemon, {"second": second, "third": third})
    for name, phone in phones.items():
        check(phone, name)
        await phone.drop()


async def compare(daemon: Daemon, phones: dict[str, Phone]) -> None:
    """Let visitors play until each has got pictures with all of their own; the stage's own picture has none of it."""
    for name, phone in phones.items():
        await phone.until(lambda each: each.phase == "turn")
        await phone.send(set={"prompt": f"session {name}", "strength": STRENGTHS[name]})
    for name, phone in phones.items():
        await phone.until(partial(is_own, name=name))
        await phone.until(partial(has_pictures, count=len(phone.pictures) + ENOUGH))
        marks = await asyncio.to_thread(output, daemon)
        assert (marks.session, marks.prompt, marks.is_foreign) == (0, checksum(SHOWN), False)
        assert abs(marks.strength - SHOWN_STRENGTH) < 0.03
        assert not any(is_near(marks.colour, colour) for colour in COLOURS.values())


def output(daemon: Daemon) -> Marks:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.panel_port}/frame.jpg", timeout=5) as answer:
        return marks_of(answer.read())
