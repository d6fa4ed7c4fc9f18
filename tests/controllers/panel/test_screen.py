"""The pages for screens, pages that embed them, and a page without the pin: in Chromium."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lcm_daemon.core.network import AccessPolicy, NetworkPolicy
from tests.rigs.browser import Tab, tab
from tests.rigs.daemon import free_port
from tests.rigs.panel import PATIENCE, Rig, serving, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PIN = "48151623"
RED, BLUE = (255, 0, 0), (0, 0, 255)


def show(rig: Rig, colour: tuple[int, int, int]) -> None:
    pixels = np.full((48, 64, 4), 255, np.uint8)
    pixels[..., :3] = colour
    rig.show(pixels)


def colour_of(element: str) -> str:
    """JavaScript: red or blue, by the middle of a canvas or a picture."""
    return (f"(() => {{ const e = document.querySelector({element!r}), c = new OffscreenCanvas(1, 1).getContext('2d');"
            " const [w, h] = [e?.naturalWidth ?? e?.width, e?.naturalHeight ?? e?.height];"
            " if (!w) return ''; c.drawImage(e, w / 2, h / 2, 1, 1, 0, 0, 1, 1);"
            " const [r, , b] = c.getImageData(0, 0, 1, 1).data; return r > 200 ? 'red' : b > 200 ? 'blue' : '' })()")


async def go(page: Tab, url: str, width: int = 800, height: int = 450) -> None:
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    await page.call("Page.navigate", url=url)


def test_output_and_view(devtools: str) -> None:
    async def scenario() -> None:
        rig, port = Rig(), free_port()
        rig.controls.status = {"show": "mirror", "fps": 12.5, "alarm": ""}
        async with tab(devtools) as page:
            async with serving(rig, port=port) as panel:
                show(rig, RED)
                await go(page, f"{panel.address}/output")
                await page.until(f"{colour_of('canvas')} === 'red'")
                assert rig.controls.wants_every_frame
                style = await page.js(
                    "[getComputedStyle(document.body).cursor, getComputedStyle(document.body).backgroundColor,"
                    " document.body.innerText.trim(), document.querySelectorAll('button, a, input').length]")
                assert style == ["none", "rgb(0, 0, 0)", "", 0]
                box = await page.js("JSON.stringify(document.querySelector('canvas').getBoundingClientRect())")
                assert '"width":800,"height":450' in box, "it fills the window"
                assert await page.js("getComputedStyle(document.querySelector('canvas')).objectFit") == "contain"
            await page.until("document.body.dataset.link === 'offline'")
            assert await page.js(colour_of("canvas")) == "red", "the last frame stays"
            async with serving(rig, port=port) as panel:
                show(rig, BLUE)
                await page.until(f"{colour_of('canvas')} === 'blue'")
                await go(page, f"{panel.address}/view?fit=cover")
                await page.until("document.querySelector('#status')?.innerText.includes('12.5 fps')")
                await page.until(f"{colour_of('canvas')} === 'blue'")
                assert await page.js("getComputedStyle(document.querySelector('canvas')).objectFit") == "cover"
                assert "Alarm" not in await page.js("document.body.innerText")
                await until(lambda: [row["page"] for row in rig.controls.lists["clients"]] == ["screen"])
            await until(lambda: not rig.controls.wants_every_frame)

    asyncio.run(scenario())


@contextmanager
def foreign_page(body: str) -> Iterator[str]:
    """A page of another origin; yields its URL."""
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("is_allowed", [True, False])
def test_pages_that_embed(devtools: str, is_allowed: bool) -> None:
    port = free_port()
    body = "".join([
        f"<img id='frame' src='http://127.0.0.1:{port}/frame.jpg'>",
        f"<img id='stream' src='http://127.0.0.1:{port}/stream.mjpg'>",
        *(f"<iframe src='http://127.0.0.1:{port}{path}'></iframe>" for path in ("/output", "/view", "/"))])

    async def scenario(origin: str) -> None:
        rig = Rig()
        rig.controls.network = NetworkPolicy(embed=(origin,) if is_allowed else ())
        async with tab(devtools) as page, serving(rig, port=port):
            show(rig, RED)
            await go(page, origin)
            if not is_allowed:
                await page.until("document.readyState === 'complete'")
                assert await page.js("document.querySelector('#frame').naturalWidth") == 0
                assert await page.js("document.querySelector('#stream').naturalWidth") == 0
                assert rig.controls.lists.get("clients", ()) == ()
                assert len([each for each in page.troubles if "frame-ancestors" in each]) == 3
                return
            shown = ("document.querySelector('#frame')?.naturalWidth === 64"
                     " && document.querySelector('#stream')?.naturalWidth === 64")
            async with asyncio.timeout(PATIENCE):
                while not await page.js(shown):
                    show(rig, RED)  # Chromium shows a frame of a stream when the next one begins
            await until(lambda: sorted(row["page"] for row in rig.controls.lists.get("clients", ())) == [
                "console", "screen", "screen"])

    with foreign_page(body) as origin:
        asyncio.run(scenario(origin))


def test_a_page_without_the_pin(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.controls.network = NetworkPolicy(access=AccessPolicy(PIN, local_pin=True))
        async with serving(rig, host="0.0.0.0") as panel, tab(devtools) as page:
            await page.open(panel.address)
            await page.until("document.querySelector('[data-view-only]') !== null")
            assert await page.js("document.querySelector('main').inert")
            await page.key("b")  # keys change nothing either
            await page.click("[data-chip=Network]")
            await page.until("document.querySelector('#pin') !== null")
            await page.write("#pin", "000000")
            await page.key("Enter")
            await page.until("document.querySelector('[data-pin-answer]')?.innerText === 'this is not the pin'")
            await page.write("#pin", PIN)
            await page.key("Enter")
            await page.until("document.querySelector('[data-view-only]') === null")
            await page.until("!document.querySelector('main').inert")
            assert rig.called == []
            rows = rig.controls.lists["addresses"]
            assert rows[0]["url"] == panel.address
            if len(rows) > 1:  # this machine has a network
                await page.until("document.querySelector('[data-qr]')?.naturalWidth > 0")
            assert [row["role"] for row in rig.controls.lists["clients"]] == ["play"]
            assert [each for each in page.troubles if "401" not in each] == []

    asyncio.run(scenario())
