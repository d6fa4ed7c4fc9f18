"""Opening hours on the page, in a browser: the chip of a closed show, and the buttons that open and close it."""

from __future__ import annotations

import asyncio

from lcm_daemon.core.requests import CommandRequest
from tests.rigs.page import drawer, opened
from tests.rigs.panel import Rig

CHIP = "document.querySelector('[data-chip-hours]')"


def test_staff_sees_that_a_show_is_closed_and_opens_it(devtools: str) -> None:
    async def scenario() -> list[CommandRequest]:
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "System")
            assert await page.js(f"{CHIP} === null && document.querySelector('[data-hours]') === null")
            closed = "closed until Mon 30 Nov 10:00"
            rig.controls.apply_update([], {"hours": closed, "hours_open": False, "engine": "unloaded"})
            await page.until(f"{CHIP} !== null")
            assert await page.js(f"{CHIP}.innerText") == closed
            assert await page.js("document.querySelector('[data-hours]').innerText") == closed
            amber = "document.querySelector('[data-drawer=System] [data-status=engine].text-amber')"
            assert await page.js(f"{amber} === null"), "an engine that does not run on purpose is not a problem"
            for name in ("hours/open", "hours/close", "hours/auto"):
                await page.js(f"document.querySelector(`[data-command='{name}']`).click()")
            async with asyncio.timeout(10):
                while len(rig.called) < 3:
                    await asyncio.sleep(0.01)
            rig.controls.apply_update([], {"hours": "open by hand until Mon 30 Nov 10:00", "hours_open": True})
            await page.until(f"{CHIP} === null")
        return rig.called

    assert [(call.name, *call.arguments) for call in asyncio.run(scenario())] == [
        ("hours/open",), ("hours/close",), ("hours/auto",)]
