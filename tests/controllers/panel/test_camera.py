"""A page's own camera: decoded, one holder at a time, and from a real browser's (fake) device."""

from __future__ import annotations

import asyncio
import itertools
import json

import numpy as np
import pytest
import simplejpeg

from lcm_daemon.controllers.panel.camera import MAX_JPEG_BYTES, MIN_INTERVAL, CameraInput
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.render_size import MAX_SIDE
from tests.conftest import ManualClock
from tests.rigs.browser import tab
from tests.rigs.panel import Rig, serving, until, visiting

ORANGE = (250, 120, 30, 255)


def jpeg(width: int = 64, height: int = 48) -> bytes:
    return simplejpeg.encode_jpeg(solid((width, height), ORANGE), 90, "RGBA", "444")


class FrameList:
    """A sink that keeps every frame."""

    def __init__(self, error: str = "") -> None:
        self.frames: list[Frame] = []
        self.error = error

    def write(self, frame: Frame) -> None:
        if self.error:
            raise TransportError(self.error)
        self.frames.append(frame)

    def close(self) -> None:
        pass


class Client:
    lost = 0

    def on_camera_lost(self) -> None:
        self.lost += 1


def test_a_picture_is_decoded_and_numbered(clock: ManualClock) -> None:
    sink, client = FrameList(), Client()
    camera = CameraInput(sink, Metrics(), clock.now)
    camera.start(client)
    for _ in range(2):
        asyncio.run(camera.receive(jpeg()))
        clock.sleep(2 * MIN_INTERVAL)
    first, second = sink.frames
    assert (first.size, first.number, second.number) == ((64, 48), 1, 2)
    assert np.abs(first.pixels[20, 20].astype(int) - ORANGE).max() <= 4
    assert second.time - first.time == pytest.approx(2 * MIN_INTERVAL)


def test_what_comes_too_fast_is_dropped_and_counted(clock: ManualClock) -> None:
    sink, client, metrics = FrameList(), Client(), Metrics()
    camera = CameraInput(sink, metrics, clock.now)
    camera.start(client)
    for _ in range(5):
        asyncio.run(camera.receive(jpeg()))
    assert len(sink.frames) == 1
    assert metrics.counts()["panel/camera/dropped"] == 4


def test_whoever_started_last_has_it() -> None:
    first, second, camera = Client(), Client(), CameraInput(FrameList(), Metrics())
    camera.start(first)
    camera.start(first)
    camera.start(second)
    assert (first.lost, second.lost) == (1, 0)
    camera.stop(first)  # it is not his any more
    assert (camera.is_owner(first), camera.is_owner(second)) == (False, True)
    camera.stop(second)
    assert not camera.is_owner(second)


@pytest.mark.parametrize("data", [b"", b"nonsense", jpeg()[:300], jpeg(MAX_SIDE + 1, 8)])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    sink, client = FrameList(), Client()
    camera = CameraInput(sink, Metrics())
    camera.start(client)
    with pytest.raises(ValueError, match=r"\w"):
        asyncio.run(camera.receive(data))
    assert sink.frames == []


def test_a_client_sends_pictures_and_is_told_what_became_of_them() -> None:
    async def scenario() -> None:
        sink = FrameList()
        async with serving(Rig(), sink) as panel, visiting(panel) as page, visiting(panel) as other:
            assert page.hello["camera"] is True
            await page.send(jpeg())
            assert await page.heard("camera") == "lost"  # it has not started
            await page.send({"camera": "start"})
            await page.send(jpeg())
            assert await page.heard("camera") == "ack"
            await until(lambda: len(sink.frames) == 1)
            await other.send({"camera": "start"})
            assert await page.heard("camera") == "lost"
            await other.send({"camera": "faster"})
            assert "start" in await other.heard("error")
            await other.send(json.dumps({"set": {"prompt": "x" * 70_000}}))
            assert "at most 65536" in await other.heard("error")
            await other.send(bytes(MAX_JPEG_BYTES))
            assert "camera frame rejected" in await other.heard("error")

    asyncio.run(scenario())


def test_a_client_that_has_gone_has_no_camera() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with serving(rig, FrameList()) as panel:
            async with visiting(panel) as page:
                await page.send({"camera": "start"})
                await page.send(jpeg())
                await page.heard("camera")
            await until(lambda: panel._server._camera._owner is None)

    asyncio.run(scenario())


def test_a_sink_that_fails_is_told_and_the_next_picture_may_come() -> None:
    async def scenario() -> None:
        async with serving(Rig(), FrameList("another sender has taken the name")) as panel, visiting(panel) as page:
            await page.send({"camera": "start"})
            await page.send(jpeg())
            assert "another sender has taken the name" in await page.heard("error")
            assert await page.heard("camera") == "ack"

    asyncio.run(scenario())


def test_a_show_with_another_source_takes_none() -> None:
    async def scenario() -> None:
        async with serving(Rig()) as panel, visiting(panel) as page:
            assert page.hello["camera"] is False
            await page.send(jpeg())
            assert "the show has no browser source" in await page.heard("error")
            await page.send({"camera": "start"})
            assert "the show has no browser source" in await page.heard("error")

    asyncio.run(scenario())


BUTTON = "(text => [...document.querySelectorAll('[data-camera] button')].find(b => b.innerText.startsWith(text)))"


def test_the_pages_camera_arrives_goes_on_after_a_break_and_stops(devtools: str) -> None:
    async def scenario() -> None:
        sink, rig = FrameList(), Rig()
        async with serving(rig, sink) as panel, tab(devtools) as page:
            await page.open(panel.address)
            await page.js(f"{BUTTON}('Send my camera').click()")
            await until(lambda: len(sink.frames) >= 10)
            assert sink.frames[-1].size == (640, 480)
            red, green, blue = sink.frames[-1].pixels[..., :3].reshape(-1, 3).mean(axis=0)
            assert green > red + 50 > blue  # Chromium's fake device is green
            moving = [np.abs(sink.frames[0].pixels.astype(int) - frame.pixels).max() for frame in sink.frames]
            assert max(moving) > 50
            await page.js("document.querySelector('[data-camera=camera]') !== null || Promise.reject('it is off')")
            for client in list(panel._server._clients.values()):  # the connection breaks; the page comes back by itself
                await client._socket.close()
            seen = len(sink.frames)
            await until(lambda: len(sink.frames) >= seen + 10)
            await page.js(f"{BUTTON}('Stop camera').click()")
            await until(lambda: panel._server._camera._owner is None)
            assert await page.js("document.querySelector('[data-camera=off]') !== null")
            assert page.troubles == []

    asyncio.run(scenario())


def test_another_camera_is_chosen_from_the_list(devtools: str) -> None:
    async def scenario() -> None:
        sink = FrameList()
        async with serving(Rig(), sink) as panel, tab(devtools) as page:
            await page.open(panel.address)
            await page.js(f"{BUTTON}('Send my camera').click()")
            chosen = "document.querySelector('[data-camera=camera] select')"
            await page.until(f"{chosen}?.options.length === 2")
            before = await page.js(f"{chosen}.value")
            await page.js(f"(e => {{ e.selectedIndex = 1 - e.selectedIndex;"
                          f" e.dispatchEvent(new Event('change', {{bubbles: true}})) }})({chosen})")
            await page.until(f"({chosen}?.value ?? {before!r}) !== {before!r}")
            seen = len(sink.frames)
            await until(lambda: len(sink.frames) >= seen + 5)

    asyncio.run(scenario())


def test_of_two_pages_the_newer_camera_counts_and_the_older_says_so(devtools: str) -> None:
    async def scenario() -> None:
        sink = FrameList()
        async with serving(Rig(), sink) as panel, tab(devtools) as one, tab(devtools) as two:
            for page in (one, two):
                await page.open(panel.address)
                before = len(sink.frames)
                await page.js(f"{BUTTON}('Send my camera').click()")
                await until(lambda before=before: len(sink.frames) > before + 2)  # type: ignore[misc]
            alert = "document.querySelector('[data-camera=off] [role=alert]')"
            await one.until(f"{alert} !== null && {alert}.innerText.includes('another page')")
            assert await two.js("document.querySelector('[data-camera=camera]') !== null")

    asyncio.run(scenario())


def test_a_page_of_another_show_has_no_camera_button(devtools: str) -> None:
    async def scenario() -> None:
        async with serving(Rig()) as panel, tab(devtools) as page:
            await page.open(panel.address)
            assert await page.js("document.querySelector('[data-camera]')") is None

    asyncio.run(scenario())


def test_a_page_that_nobody_sees_goes_on_sending(devtools: str) -> None:
    """As it must while it shares the window in front of it."""
    async def scenario() -> float:
        sink = FrameList()
        async with serving(Rig(), sink) as panel, tab(devtools) as page, tab(devtools) as other:
            await page.open(panel.address)
            await page.js(f"{BUTTON}('Send my camera').click()")
            await until(lambda: len(sink.frames) >= 3)
            await page.call("Emulation.setFocusEmulationEnabled", enabled=False)
            await other.call("Page.bringToFront")
            await page.until("document.hidden")
            seen = len(sink.frames)
            await until(lambda: len(sink.frames) >= seen + 10)
            return sink.frames[-1].time - sink.frames[seen].time

    assert asyncio.run(scenario()) < 5.0  # a hidden page's own timers would take nine seconds


@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (844, 390), (768, 1024), (360, 640)])
def test_the_cameras_buttons_leave_the_pictures_tools_alone(devtools: str, size: tuple[int, int]) -> None:
    boxes = """[...document.querySelectorAll(`[data-picture], [data-picture] [role=toolbar],
        [data-camera] button, [data-camera] select`)].filter(e => e.checkVisibility()).map(e => {
        const {left, top, right, bottom} = e.getBoundingClientRect();
        return {left, top, right, bottom, hidden: Math.max(0, e.scrollHeight - e.clientHeight)} })"""

    async def scenario() -> tuple[list[dict[str, float]], list[dict[str, float]]]:
        rig = Rig()
        async with serving(rig, FrameList()) as panel, tab(devtools) as page:
            await page.open(panel.address, *size, touch=size[0] < 1000)
            rig.show(solid((1024, 1024)))
            await page.until("document.querySelector('canvas').width === 1024")
            off = await page.js(boxes)
            await page.js(f"{BUTTON}('Send my camera').click()")
            await page.until("document.querySelector('[data-camera=camera]') !== null")
            return off, await page.js(boxes)

    for pane, *others in asyncio.run(scenario()):
        assert len(others) >= 2
        assert all(box["top"] >= pane["top"] and box["right"] <= pane["right"] and box["hidden"] <= 1 for box in others)
        crossing = [pair for pair in itertools.combinations(others, 2) if _cross(*pair)]
        assert crossing == []


def _cross(one: dict[str, float], two: dict[str, float]) -> bool:
    return (one["left"] < two["right"] and two["left"] < one["right"]
            and one["top"] < two["bottom"] and two["top"] < one["bottom"])
