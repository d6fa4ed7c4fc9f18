"""The engines in the page's drawer System, in a browser: a row each, and a switch."""

from __future__ import annotations

import asyncio
from typing import Any

from lcm_daemon.core.requests import CommandRequest
from tests.rigs.page import drawer, opened
from tests.rigs.panel import Rig

IDLE: dict[str, Any] = {"node": "", "device": "", "on": True, "fps": 0.0, "latency": 0.0, "memory": "", "pid": 0}
ROWS: tuple[dict[str, Any], ...] = (
    {**IDLE, "name": "cuda:0", "device": "cuda:0 (NVIDIA H100)", "state": "rendering", "fps": 19.8, "latency": 51.2,
     "memory": "70.1 of 79.2 GiB free", "pid": 4711},
    {**IDLE, "name": "ray 1", "node": "render-2", "device": "cuda:0 (NVIDIA L4)", "state": "loading unet"},
    {**IDLE, "name": "cpu", "device": "cpu", "state": "stopped", "on": False})


def engine(name: str) -> str:
    return f"document.querySelector('[data-engine=\"{name}\"]')"


def test_the_performer_sees_stops_and_starts_engines(devtools: str) -> None:
    async def scenario() -> list[CommandRequest]:
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            rig.controls.set_list("engines", ROWS[:1])
            await page.until("document.querySelector('[data-drawer-tab=System]') !== null")
            await drawer(page, "System")
            await page.until("document.querySelector('[data-drawer=System]') !== null")
            assert await page.js(f"{engine('cuda:0')} === null"), "one engine needs no list: the status has all"
            rig.controls.set_list("engines", ROWS)
            await page.until(f"{engine('cpu')} !== null")
            assert "19.8 frames/s · 51 ms · 70.1 of 79.2 GiB free" in await page.js(f"{engine('cuda:0')}.innerText")
            text = await page.js(f"{engine('ray 1')}.innerText")
            assert "ray 1 on render-2" in text
            assert "loading unet" in text
            assert "stopped" in await page.js(f"{engine('cpu')}.innerText")
            for name in ("cuda:0", "cpu"):
                await page.js(f"{engine(name)}.querySelector('[role=switch]').click()")
            async with asyncio.timeout(10):
                while len(rig.called) < 2:
                    await asyncio.sleep(0.01)
        return rig.called

    assert [(call.name, *call.arguments) for call in asyncio.run(scenario())] == [
        ("engine/stop", "cuda:0"), ("engine/start", "cpu")]
