"""The pictures a browser is sent: over the WebSocket, as Motion JPEG, and one by itself."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import simplejpeg

from lcm_daemon.controllers.panel.preview import Preview
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from tests.rigs.panel import Rig, get, serving, until, visiting

ORANGE = (230, 120, 20, 255)


def test_a_picture_comes_only_after_the_last_was_acknowledged_and_is_the_newest_then():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            rig.show(solid((32, 16), ORANGE))
            first = await page.picture()
            for shade in (10, 60, 200):
                rig.show(solid((32, 16), (shade, shade, shade, 255)))
                assert await page.silent(0.05)
            await page.send({"frame": "ack"})
            return _colour(first), _colour(await page.picture())

    first, second = asyncio.run(scenario())
    assert np.abs(np.subtract(first, ORANGE[:3])).max() < 4
    assert np.abs(np.subtract(second, 200)).max() < 4


def test_the_input_is_sent_when_it_is_asked_for_and_costs_nothing_else():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            unasked = rig.controls.wants_input
            await page.send({"input": "next"})
            await until(lambda: rig.controls.wants_input)
            rig.controls.input = Frame(solid((32, 16), ORANGE), 1, 1.0)
            told = await page.heard("frame")
            first = await page.picture()
            rig.controls.input = Frame(solid((32, 16)), 2, 2.0)
            quiet = await page.silent(0.05)
            by_name = await get(panel, "/input.jpg")
            await page.send({"input": "now"})
            return unasked, told, _colour(first), quiet, by_name, await page.heard("error")

    unasked, told, colour, quiet, by_name, error = asyncio.run(scenario())
    assert (unasked, told, quiet) == (False, "input", True)
    assert np.abs(np.subtract(colour, ORANGE[:3])).max() < 4
    assert (by_name.status, by_name.headers["x-frame-number"]) == (200, "2")
    assert error == 'input: expected "next"'


def test_a_picture_is_encoded_once_for_all_and_never_for_nobody():
    async def scenario():
        rig = Rig()
        pictures = lambda: rig.controls.metrics.total("panel/pictures")  # noqa: E731
        async with serving(rig) as panel:
            rig.show()
            await asyncio.sleep(0.1)
            unwatched = pictures()
            async with AsyncExitStack() as stack:
                pages = [await stack.enter_async_context(visiting(panel)) for _ in range(5)]
                for _ in range(3):
                    same = {await page.picture() for page in pages}
                    assert len(same) == 1
                    rig.show()
                    for page in pages:
                        await page.send({"frame": "ack"})
                for page in pages:
                    await page.picture()
            return unwatched, pictures()

    assert asyncio.run(scenario()) == (0, 4)


@pytest.mark.slow
def test_pictures_come_no_faster_than_the_preview_rate():
    async def scenario():
        rig = Rig()
        async with serving(rig, preview_fps=20) as panel, visiting(panel) as page:
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < 0.5:
                rig.show()
                await page.picture()
                await page.send({"frame": "ack"})
                count += 1
            return count, time.perf_counter() - started

    count, seconds = asyncio.run(scenario())
    assert 0 < count <= 20 * seconds + 2  # the first comes at once, and the first slot may end just after


def test_the_newest_picture_by_itself():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel:
            before = await get(panel, "/frame.jpg")
            rig.show()
            number = rig.show(solid((48, 32), ORANGE))
            return before, await get(panel, "/frame.jpg"), number

    before, after, number = asyncio.run(scenario())
    assert (before.status, before.body) == (503, b"no frame has been rendered yet\n")
    assert (after.status, after.headers["content-type"]) == (200, "image/jpeg")
    assert after.headers["x-frame-number"] == str(number)
    assert simplejpeg.decode_jpeg_header(after.body)[:2] == (32, 48)
    assert np.abs(np.subtract(_colour(after.body), ORANGE[:3])).max() < 4


def test_motion_jpeg_sends_each_picture_and_ends_when_its_viewer_leaves():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel:
            reader, writer = await asyncio.open_connection("127.0.0.1", panel.port)
            writer.write(f"GET /stream.mjpg HTTP/1.0\r\nHost: 127.0.0.1:{panel.port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            colours = []
            for shade in (40, 140, 240):
                rig.show(solid((32, 16), (shade, 0, 0, 255)))
                colours.append(_colour(await _part(reader)))
            watched = (await get(panel, "/health")).json["clients"]
            writer.close()
            await until(lambda: not panel._server._seats)
            return head, colours, watched

    head, colours, watched = asyncio.run(scenario())
    assert b"multipart/x-mixed-replace; boundary=picture" in head
    assert [round(int(red) / 20) * 20 for red, _, _ in colours] == [40, 140, 240]
    assert watched == 1


def _colour(jpeg: bytes) -> tuple[int, ...]:
    pixels = simplejpeg.decode_jpeg(jpeg, "RGB")
    return tuple(int(c) for c in np.median(pixels.reshape(-1, 3), axis=0))


async def _part(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await reader.readexactly(length)


def test_hidden_colours_are_black() -> None:
    controls = SimpleNamespace(frame=Frame(solid((16, 16), (200, 200, 200, 0)), 1, 0.0), metrics=Metrics())
    jpeg = Preview(cast(ControlState, controls), 30.0, 90).newest()
    assert jpeg is not None
    assert simplejpeg.decode_jpeg(jpeg.data).max() <= 2
