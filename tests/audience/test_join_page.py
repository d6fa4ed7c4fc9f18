"""The page of visitors in Chromium, as two people with a camera, before a daemon that shows pictures as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.rigs.browser import Tab, context
from tests.rigs.daemon import Daemon, free_port

pytestmark = [pytest.mark.slow, pytest.mark.daemon]
PHONE = (390, 780, True)
DRAWN = "document.querySelector('canvas[data-drawn]') !== null"
# The colour of the middle of the picture; the bitmap's canvas gives no pixels itself.
MIDDLE = """(() => { const from = document.querySelector('canvas'), to = document.createElement('canvas');
  to.width = to.height = 1; const context = to.getContext('2d');
  context.drawImage(from, from.width / 2, from.height / 8, 1, 1, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data] })()"""


def phase(name: str) -> str:
    return f"document.querySelector('[data-phase={name}]') !== null"


def is_green(colour: list[int]) -> bool:
    """Whether this is the ground of Chromium's own camera."""
    return colour[1] > 100 and colour[0] < 60 and colour[2] < 60


async def press(page: Tab, button: str) -> None:
    await page.until(f"document.querySelector('{button}')?.disabled === false")
    await page.click(button)


async def visit(devtools: str, daemon: Daemon, url: str) -> None:
    async with context(devtools) as first, context(devtools) as second:
        for page in (first, second):
            await page.open(url, *PHONE)
            await page.until(phase("start"))
        await press(first, "[data-join]")
        await first.until(f"{phase('turn')} && {DRAWN}")
        assert not is_green(await first.js(MIDDLE))
        await press(second, "[data-join]")
        await second.until("document.querySelector('[data-place=\"1\"]') !== null")
        await press(second, "[data-camera=start]")
        await second.until("document.querySelector('.preview video')?.videoWidth > 0")
        assert await first.js("document.cookie") == ""  # scripts do not see the secret
        await first.write("[data-parameter=prompt] textarea", "the ocean")
        await first.until("document.querySelector('[role=timer]').dataset.left < 600")
        await first.write("[data-parameter=prompt] textarea", "b.a.d")
        await first.until("document.querySelector('[data-error]')?.textContent === 'this text is not allowed here'")
        await press(first, "[data-leave]")
        await first.until("document.querySelector('[data-ended=left]') !== null")
        await see_the_camera(second)
        assert not await second.js("document.body.textContent.includes('ocean')")
        number = await second.js("document.querySelector('main').dataset.session")
        await second.call("Page.reload")  # the turn goes on, with the camera
        await see_the_camera(second)
        assert await second.js("document.querySelector('main').dataset.session") == number
        assert daemon.values()["prompt"] != "the ocean"
        assert first.troubles == second.troubles == []
        await refuse(first, url)


async def see_the_camera(page: Tab) -> None:
    await page.until(f"{phase('turn')} && {DRAWN}")
    async with asyncio.timeout(30):
        while not is_green(await page.js(MIDDLE)):
            await asyncio.sleep(0.05)


async def refuse(page: Tab, url: str) -> None:
    """The queue has no room: the page counts down."""
    await page.open(url, *PHONE)
    await press(page, "[data-join]")
    await page.until("document.querySelector('[data-place=\"1\"]') !== null")
    await page.call("Network.clearBrowserCookies")  # as another visitor
    await page.open(url, *PHONE)
    await press(page, "[data-join]")
    await page.until("document.querySelector('[data-refused=full]') !== null")
    assert "Try again in" in await page.js("document.body.textContent")
    assert await page.js("document.querySelector('[data-join]').disabled")


def test_two_visitors_one_after_the_other(devtools: str, tmp_path: Path) -> None:
    port = free_port()
    audience = {"places": 1, "queue": 1, "seconds": 600, "parameters": ["prompt", "strength"], "port": port,
                "blocked_words": ["bad"]}
    show = {"name": "Mirror", "recipe": {"pipeline": "passthrough"}, "source": {"transport": "testcard"},
            "output": {"size": [256, 256], "fps": 15}, "audience": audience}
    with Daemon(tmp_path, show) as daemon:
        daemon.wait_rendering()
        asyncio.run(visit(devtools, daemon, f"http://127.0.0.1:{port}/join"))
        assert "Traceback" not in daemon.log()
