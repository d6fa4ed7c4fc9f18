"""A whole daemon played from its page in Chromium: sources, recipes, outputs, recording, pictures, camera, lamps."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from websockets.asyncio.client import connect

from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.transports.shared_memory import MemorySink, MemorySource
from tests.conftest import need
from tests.rigs.browser import Tab, find, running, tab
from tests.rigs.daemon import Daemon
from tests.rigs.oscquery_peer import Udp
from tests.rigs.standin_hub import Repo, StandinHub, weights

ORANGE = (250, 120, 30, 255)
OUT, IN = f"out{os.getpid()}", f"in{os.getpid()}"
WEIGHTS = weights(25 << 20)  # huggingface_hub hands on 10 MiB at a time
FILES = {
    "scheduler/scheduler_config.json": b"{}", "tokenizer/vocab.json": b"{}", "tokenizer/merges.txt": b"#version: 0.2\n",
    "unet/config.json": b"{}", "unet/diffusion_pytorch_model.safetensors": WEIGHTS, "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": weights(4000), "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": weights(4000),
}
RECIPE = {"title": "A model of the test", "model": "some/model", "guidance": "none", "download": "25 MB",
          "licence": "MIT", "files": [{"source": "some/model", "files": list(FILES)}]}


@contextmanager
def sending(name: str) -> Iterator[None]:
    """A sender in shared memory."""
    sink, ended = MemorySink({"name": name}), threading.Event()
    sink.open((64, 48), 30.0)

    def send() -> None:
        number = 0
        while not ended.wait(0.03):
            number += 1
            sink.write(Frame(solid((64, 48), ORANGE), number, time.perf_counter()))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        sink.close()


class Set:
    """The page, the daemon behind it, and its output."""

    def __init__(self, page: Tab, daemon: Daemon, folder: Path, hub: StandinHub) -> None:
        self.page, self.daemon, self.folder, self.hub = page, daemon, folder, hub
        self.out = MemorySource({"name": OUT})

    async def menu(self, name: str) -> None:
        await self.page.click(f"[data-chip={name}]")
        await self.page.until(f"document.querySelector('[data-popup={name}]').matches(':popover-open')")

    async def status(self, key: str, text: str) -> None:
        async with asyncio.timeout(30):
            while text not in str(self.daemon.status().get(key)):
                await asyncio.sleep(0.05)

    async def press(self, selector: str, text: str) -> None:
        """Click the button with this text, once it is there."""
        button = f"[...document.querySelectorAll({selector + ' button'!r})].find(b => b.innerText.trim() === {text!r})"
        await self.page.until(f"{button} !== undefined && ({button}.click(), true)")

    async def until(self, selector: str, condition: str = "true") -> None:
        """Wait until an element `e` is there and a condition is true of it."""
        await self.page.until(f"(e => e !== null && ({condition}))(document.querySelector({selector!r}))")

    async def picture(self, good: Any) -> None:
        """Wait until the output is as it should."""
        async with asyncio.timeout(30):
            while (frame := self.out.read(0.5)) is None or not good(frame.pixels):
                await asyncio.sleep(0.02)


async def choose_a_source(play: Set) -> None:
    await play.menu("Source")
    row = f"[data-source-row='memory {IN}']"
    await play.until(row, "e.querySelector('img')?.naturalWidth === 128")
    await play.page.click(row)
    await play.status("source", f"memory {IN}: running")
    await play.until("[data-source]", f"e.innerText.includes('memory {IN}')")
    await play.until(row, "e.ariaCurrent === 'true'")
    await play.page.key("Escape")
    await play.picture(lambda pixels: np.abs(pixels[60, 60].astype(int) - ORANGE).max() <= 12)


async def see_a_sources_error(play: Set, address: str) -> None:
    async with connect(address, proxy=None, max_size=None) as socket:
        await socket.recv()
        await socket.send(json.dumps({"command": {"name": "source", "arguments": ["picture 9"]}}))
        await play.menu("Source")
        await play.until("[data-source-problem]", "e.innerText.includes('no source is listed as')")
        await play.page.key("Escape")


async def fetch_a_recipe(play: Set, address: str) -> None:
    engine = play.daemon.status()["engine_pid"]
    async with connect(address, proxy=None, max_size=None) as socket:
        await socket.recv()
        begun = time.perf_counter()
        await socket.send(json.dumps({"command": {"name": "recipe", "arguments": ["mine"]}}))
        while "error" not in (message := json.loads(text) if isinstance(text := await socket.recv(), str) else {}):
            pass
    assert message["error"].startswith("recipe mine: not on this machine: some/model; ")
    assert time.perf_counter() - begun < 2.0
    status = play.daemon.status()
    assert (status["engine_pid"], status["change"]) == (engine, "")
    await play.menu("Recipe")
    row = "[data-recipe-row=mine]"
    await play.until(f"{row}[data-state=absent]", "e.innerText.includes('MIT') && e.innerText.includes('25 MB')"
                     " && e.querySelector('button').disabled")
    play.hub.slow = threading.Event()
    await play.press(row, "Fetch")
    await play.until(f"{row} [role=progressbar]", "Number(e.ariaValueNow) > 30")
    assert await play.page.js("[...document.querySelectorAll('[data-recipe-row] button')]"
                              ".filter(b => b.innerText === 'Fetch').every(b => b.disabled)")
    await play.press(row, "Stop")
    await play.until(f"{row}[data-state=absent]", "e.querySelector('[role=progressbar]') === null")
    play.hub.slow.set()
    play.hub.slow = None
    await play.press(row, "Fetch")
    await play.until(f"{row}[data-state=here]", "!e.querySelector('button').disabled")
    await play.page.key("Escape")


async def switch_and_record(play: Set) -> None:
    await play.menu("Outputs")
    switch = f"[data-sink={OUT}] [role=switch]"
    await play.until(f"[data-sink={OUT}]", "/running · 128x128 · [1-9]\\d? fps/.test(e.innerText)")
    for on in (False, True):
        await play.page.click(switch)
        await play.until(switch, f"e.ariaChecked === '{str(on).lower()}'")
        await play.status("sinks", f"memory {OUT}: {'running' if on else 'off'}")
    await play.page.key("Escape")
    await play.page.click("[data-record=off]")
    await play.until("[data-record=on]", "e.innerText.includes('0:01') && e.title.includes('take.mp4')"
                     " && e.title.includes('GB free')")
    await play.page.click("[data-record=on]")
    await play.until("[data-record=off]")
    assert (play.folder / "take.mp4").stat().st_size > 0


async def drop_pictures(play: Set) -> None:
    Image.new("RGB", (300, 200), (20, 40, 220)).save(play.folder / "blue.png")
    (play.folder / "text.png").write_text("no picture")
    await play.press(".frame-drawertabs", "Pictures")
    await give(play.page, "[data-drop=source] input", play.folder / "blue.png")
    await play.status("source", "picture 1: running")
    await play.until("[data-picture='1'] img", "e.naturalWidth > 50")
    await play.picture(lambda pixels: np.abs(pixels[60, 60].astype(int) - (20, 40, 220, 255)).max() <= 12)
    await give(play.page, "[data-drop=source] input", play.folder / "text.png")
    await play.until("[data-picture-error]", "e.innerText.startsWith('text.png: this is not a picture of a known')")
    await play.page.click("[data-picture='1'] [aria-label='Remove picture 1']")
    await play.page.until("document.querySelector(\"[data-picture='1']\") === null")


async def give(page: Tab, selector: str, file: Path) -> None:
    """Choose a file in a file field."""
    found = await page.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
    await page.call("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])


def green(pixels: Pixels) -> bool:
    red, green, blue = pixels[..., :3].reshape(-1, 3).mean(axis=0)
    return bool(green > red + 50 and green > blue + 50)


def words(pixels: Pixels, right: bool) -> bool:
    """Whether the fake device's clock, in its upper left corner, is on this side."""
    left_side, right_side = (float(side.std()) for side in (pixels[:40, :50, 1], pixels[:40, -50:, 1]))
    return green(pixels) and (right_side > left_side if right else left_side > right_side)


async def use_the_pages_camera(play: Set) -> None:
    await play.menu("Source")
    await play.press("[data-camera-row]", "Camera")
    await play.status("source", "browser: running")
    await play.picture(lambda pixels: words(pixels, right=False))
    await play.page.click("[data-camera-row] input[type=checkbox]")
    await play.picture(lambda pixels: words(pixels, right=True))
    await play.page.js("(e => { e.value = '1080p'; e.dispatchEvent(new Event('change', {bubbles: true})) })"
                       "(document.querySelector('[data-camera-row] [aria-label=Size]'))")
    await play.until("[data-camera-row]", "e.innerText.includes('sends 1920x1080')")
    await play.page.call("Page.reload")
    await play.until("[data-camera=camera]")
    await play.picture(lambda pixels: words(pixels, right=True))  # it continues, mirrored
    await play.menu("Source")
    await play.until("[data-camera-row]", "e.innerText.includes('sends 1920x1080')")
    await play.press("[data-camera-row]", "Stop camera")
    await play.until("[data-camera=off]")
    await play.page.key("Escape")


async def see_lamps_and_rate(play: Set) -> None:
    with Udp(play.daemon.osc_port) as hand:
        hand.send("/lcm/strength", "f", 0.4)
        await play.until("[data-lamp=osc]", "Number(e.dataset.count) > 0"
                         " && e.title === '/lcm/strength from 127.0.0.1'")
    await play.page.until("document.querySelector('[data-chip-fps] polyline').points.length > 4")


def test_one_set_is_played_from_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(find() is not None, "the page's tests need Chromium")
    (tmp_path / "browser").mkdir()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(RECIPE))
    show = {
        "recipe": "passthrough", "recipes": {"mine": "mine.yaml"},
        "output": {"size": [128, 128], "fps": 30, "crossfade": 0.1},
        "engine": {"spare": False}, "source": {"transport": "testcard"},
        "sinks": [{"transport": "memory", "name": OUT},
                  {"transport": "record", "path": str(tmp_path / "take.mp4"), "idle": True}],
    }

    async def scenario(devtools: str, daemon: Daemon, hub: StandinHub) -> None:
        async with tab(devtools) as page:
            await page.open(f"http://127.0.0.1:{daemon.panel_port}")
            play = Set(page, daemon, tmp_path, hub)
            play.out.open()
            address = f"ws://127.0.0.1:{daemon.panel_port}/ws"
            await choose_a_source(play)
            await see_a_sources_error(play, address)
            await fetch_a_recipe(play, address)
            await switch_and_record(play)
            await drop_pictures(play)
            await use_the_pages_camera(play)
            await see_lamps_and_rate(play)
            play.out.close()
            assert [each for each in page.troubles if "422" not in each] == []  # the picture that was refused

    with StandinHub({"some/model": Repo(FILES)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path / "state"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        with sending(IN), Daemon(tmp_path, show) as daemon, running(tmp_path / "browser") as devtools:
            asyncio.run(scenario(devtools, daemon, hub))
