"""One set, played on the page of a real daemon by mouse, touch and keys; it also takes the pictures of the README.

`LCM_DAEMON_FIGURES=examples/figures pytest tests/daemon/test_one_set.py` writes the pictures, and records ten seconds.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import pytest
import yaml
from pythonosc.udp_client import SimpleUDPClient

from tests.rigs.browser import Tab, running, tab
from tests.rigs.daemon import Daemon
from tests.rigs.page import control, number

DEMO = Path("show_configs/demo.yaml")
FIGURES = os.environ.get("LCM_DAEMON_FIGURES", "")
RECORD_SECONDS = 10 if FIGURES else 2
PROMPTS = ("fire", "stained glass, red", "ocean, blue waves")
PATIENCE = 60.0  # seconds that a step may take on a busy machine

pytestmark = [pytest.mark.browser, pytest.mark.daemon]


class Set:
    """The page and the daemon of one set."""

    def __init__(self, page: Tab, daemon: Daemon) -> None:
        self.page, self.daemon = page, daemon

    async def status(self, name: str, holds: Callable[[Any], bool]) -> Any:
        return await self._wait(lambda: self.daemon.status().get(name), holds, f"status {name}")

    async def value(self, name: str, holds: Callable[[Any], bool]) -> Any:
        return await self._wait(lambda: self.daemon.values().get(name), holds, f"value of {name}")

    async def _wait(self, read: Callable[[], Any], holds: Callable[[Any], bool], what: str) -> Any:
        found = None
        try:
            async with asyncio.timeout(PATIENCE):
                while (found := await asyncio.to_thread(read)) is None or not holds(found):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{what} stayed {found!r}") from None
        return found

    async def figure(self, name: str, width: int = 1280, height: int = 800, touch: bool = False) -> None:
        """Take a picture for the README, where one was asked for."""
        if not FIGURES:
            return
        await self.page.resize(width, height, touch)
        await asyncio.sleep(2.0)  # the picture has followed the last step
        shot = await self.page.call("Page.captureScreenshot", format="webp", quality=80)
        Path(FIGURES, f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
        await self.page.resize(1280, 800)


async def change_the_source_to_the_pages_camera(one: Set) -> None:
    page = one.page
    await page.click("[data-chip=Source]")
    await page.until("document.querySelector('[data-camera-row] button') !== null")
    await one.figure("page-source")
    await page.click("[data-camera-row] button")
    await one.status("source", lambda text: text.startswith("camera") and text.endswith("running"))
    await page.key("Escape")
    await page.until("document.querySelector('[data-popup=Source] [data-camera-row]') === null")
    await page.until("document.querySelector('[data-canvas=input]').width > 300")


async def send_three_prompts(one: Set) -> None:
    for prompt in PROMPTS:
        await one.page.click(control("prompt"))
        await one.page.write(control("prompt"), prompt)
        await one.page.key("Enter")
        await one.value("prompt", lambda text, prompt=prompt: text == prompt)  # type: ignore[misc]


async def save_two_looks(one: Set) -> None:
    page = one.page
    await page.js("document.activeElement.blur()")
    await page.key("l")
    await page.write("[data-deck] form input", "waves")
    await page.key("Enter")
    await page.until("document.querySelector('[data-cue=waves]') !== null")
    await page.click(control("noise", "label:nth-of-type(2)"))
    await one.value("noise", lambda noise: noise == "walking")
    await page.click("[data-command='cue/record']")
    await page.write("[data-deck] form input", "walk")
    await page.click("[data-deck] form button")
    await page.until("document.querySelector('[data-cue=walk]') !== null")
    await page.until("document.querySelectorAll('[data-cue] img').length === 2")
    await page.click("[data-cue=waves]")
    await one.value("noise", lambda noise: noise == "fixed")


async def crossfade_by_touch(one: Set) -> None:
    page = one.page
    await page.write(control("prompt_b"), "lava, glowing red")
    await page.key("Enter")
    await one.value("prompt_b", lambda text: text == "lava, glowing red")
    await page.resize(1280, 800, touch=True)
    x, y = await page.place(control("blend"), 0.05)
    end = (await page.place(control("blend"), 0.6))[0]
    await page.touch("touchStart", (x, y))
    for step in range(1, 11):
        await page.touch("touchMove", (x + (end - x) * step / 10, y))
    await page.touch("touchEnd")
    await one.value("blend", lambda blend: blend > 0.3)
    await page.resize(1280, 800)


async def learn_a_fader(one: Set) -> None:
    page, sender = one.page, SimpleUDPClient("127.0.0.1", one.daemon.osc_port)
    x, y = await page.place(control("feedback"))
    for kind in ("mousePressed", "mouseReleased"):
        await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="right", clickCount=1)
    await page.until("document.querySelector('[data-learn=open]') !== null")
    await page.click("[data-learn] > button")
    await page.until("document.querySelector('[data-learn=learning]') !== null")
    sender.send_message("/touch/fader1", 0.25)
    await page.until("document.querySelector(\"[data-binding='/touch/fader1']\") !== null")
    await one.figure("page-learn")
    await page.key("Escape")
    sender.send_message("/touch/fader1", 0.5)
    await one.value("feedback", lambda feedback: 0.4 < feedback < 0.6)


async def record(one: Set) -> None:
    await one.page.click("[data-record=off]")
    await one.status("record_seconds", lambda seconds: seconds >= RECORD_SECONDS)
    await one.page.click("[data-record=on]")
    await one.page.until("document.querySelector('[data-record=off]') !== null")


async def panic_and_undo(one: Set) -> None:
    page = one.page
    await page.click("[data-command=panic]")
    await one.value("blend", lambda blend: blend == 0.0)
    await page.until("document.querySelector('[data-command=undo_panic]') !== null")
    await page.click("[data-command=undo_panic]")
    await one.value("blend", lambda blend: blend > 0.3)
    moved = await page.js(number("mix"))
    await page.js(f"document.querySelector({control('mix')!r}).focus()")
    await page.key("Home")
    await one.value("mix", lambda mix: mix == 0.0)
    await page.until("document.querySelector(\"[data-badge='MIX 0']\") !== null")
    await page.call("Input.dispatchKeyEvent", type="keyDown", key="z", code="KeyZ", modifiers=2)  # Ctrl
    await one.value("mix", lambda mix: mix == moved)


async def pictures(one: Set) -> None:
    """The page with the show's own source again, for the README."""
    if FIGURES:
        await one.page.click("[data-chip=Source]")
        await one.page.until("document.querySelector('[data-source-row=show]') !== null")
        await one.page.click("[data-source-row=show]")
        await one.status("source", lambda text: text == "testcard: running")
        await one.page.key("Escape")
        await one.page.click("[data-camera] button")
        await one.figure("page")
        await one.figure("page-tablet", 834, 1112, touch=True)
        await one.figure("page-phone", 390, 844, touch=True)


STEPS: tuple[Callable[[Set], Awaitable[None]], ...] = (
    change_the_source_to_the_pages_camera, send_three_prompts, save_two_looks, crossfade_by_touch, learn_a_fader,
    record, panic_and_undo, pictures)


def test_one_set_is_played_by_mouse_touch_and_keys(tmp_path: Path) -> None:
    demo = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    show = {key: value for key, value in demo.items() if key not in ("osc", "panel")}
    show["sources"]["camera"]["name"] = f"set{os.getpid()}"  # other tests may play a show with a camera too

    async def play(devtools: str, daemon: Daemon) -> list[str]:
        async with tab(devtools) as page:
            await page.open(f"http://127.0.0.1:{daemon.panel_port}")
            await page.until("document.querySelector('[data-canvas=output]').width > 300")
            first = await page.js("[...document.querySelector('[data-canvas=output]').getContext('2d')"
                                  ".getImageData(100, 100, 300, 300).data].some((v, i) => i % 4 < 3 && v > 30)")
            assert first, "the first picture is black"
            await asyncio.to_thread(daemon.wait_rendering)
            for step in STEPS:
                await step(Set(page, daemon))
            return page.troubles

    with running(tmp_path) as devtools, Daemon(tmp_path, {**show, "engine": {"spare": False}}) as daemon:
        assert asyncio.run(play(devtools, daemon)) == []
    recorded = list((tmp_path / "recordings").glob("*.mp4"))
    assert len(recorded) == 1
    with av.open(str(recorded[0])) as film:
        stamps = [packet.pts * packet.time_base for packet in film.demux(video=0) if packet.pts is not None]
    assert stamps[-1] >= RECORD_SECONDS * 0.8
