"""The page's drawer Audience, in a browser: one row a session, the performer's buttons."""

from __future__ import annotations

import asyncio
from typing import Any

from lcm_daemon.core.requests import CommandRequest
from tests.rigs.page import drawer, opened
from tests.rigs.panel import Rig

STATUS: dict[str, Any] = {
    "audience": "2 play, 1 wait", "audience_open": True, "audience_address": "http://10.0.0.5:8001/join", "wall": "one"}
ROWS: tuple[dict[str, Any], ...] = (
    {"session": 3, "state": "active", "seat": 1, "left": 41, "wait": 0, "prompt": "a ship in the fog", "shown": True},
    {"session": 5, "state": "active", "seat": 2, "left": 80, "wait": 0, "prompt": "", "shown": False},
    {"session": 6, "state": "waiting", "seat": 0, "left": 0, "wait": 240, "prompt": "", "shown": False})
TAB = "document.querySelector('[data-drawer-tab=Audience]')"


def row(session: int) -> str:
    return f"document.querySelector('[data-session=\"{session}\"]')"


def button(session: int, label: str) -> str:
    return f"[...{row(session)}.querySelectorAll('button')].find(e => e.textContent === '{label}')"


def test_the_performer_sees_and_commands_the_sessions(devtools: str) -> None:
    async def scenario() -> list[CommandRequest]:
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.until("document.querySelector('[data-drawer-tab=System]') !== null")
            assert await page.js(f"{TAB} === null"), "a show without visitors"
            rig.controls.apply_update([], STATUS)
            rig.controls.set_list("sessions", ROWS)
            await page.until(f"{TAB} !== null")
            await drawer(page, "Audience")
            await page.until(f"{row(6)} !== null")
            text = await page.js(f"{row(3)}.innerText")
            assert "plays, 41 s left" in text
            assert "on the output" in text
            assert "a ship in the fog" in text
            assert "waits, about 4 min" in await page.js(f"{row(6)}.innerText")
            assert await page.js(f"{button(6, 'Show')} === undefined")
            for session, label in ((5, "Show"), (3, "+30 s"), (6, "Skip"), (5, "Block")):
                await page.js(f"{button(session, label)}.click()")
            await page.js("document.querySelector('[data-drawer=Audience] input[value=mosaic]').click()")
            await page.js("document.querySelector('[data-drawer=Audience] button[title^=\"Let no\"]').click()")
            rig.controls.apply_update([], {**STATUS, "audience_open": False})
            door = "document.querySelector('[data-drawer=Audience] button[title^=\"Let visitors\"]')"
            await page.until(f"{door} !== null")
            await page.js(f"{door}.click()")
            rig.controls.set_list("sessions", ())
            await page.until("document.querySelector('[data-drawer=Audience]').innerText.includes('No visitor')")
            async with asyncio.timeout(10):
                while len(rig.called) < 7:
                    await asyncio.sleep(0.01)
        return rig.called

    assert [(call.name.removeprefix("audience/"), *call.arguments) for call in asyncio.run(scenario())] == [
        ("show", 5), ("extend", 3, 30.0), ("skip", 6), ("block", 5), ("wall", "mosaic"), ("close",), ("open",)]
