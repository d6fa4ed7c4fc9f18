"""The page of a rig in the browser, and selectors of its controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lcm_daemon.controllers.panel.controller import Panel
from tests.rigs.browser import Tab, tab
from tests.rigs.panel import SHOWN, Rig, serving

WIDGETS = {
    "float": "[role=slider]", "int": "[role=slider]", "bool": "[role=switch]", "text": "textarea",
    "choice": ":is([role=radiogroup], select)",
}

DRAWERS = ("LoRA", "ControlNet", "Pictures", "Modulation", "Tempo", "Model", "System")


def control(name: str, part: str = "") -> str:
    """Selector of a parameter's control, or of a part of its row."""
    return f'[data-parameter="{name}"] {part or WIDGETS[SHOWN[name].kind]}'


def number(name: str) -> str:
    """JavaScript expression for the value that a fader shows."""
    return f"Number(document.querySelector({control(name)!r}).ariaValueNow)"


def field(name: str, part: str = "input") -> str:
    """JavaScript expression for the content of a field."""
    return f"document.querySelector({control(name, part)!r}).value"


@asynccontextmanager
async def opened(devtools: str, rig: Rig, **window: int) -> AsyncIterator[tuple[Tab, Panel]]:
    """Open the page of a new panel. At the end, the page must not have logged an error."""
    async with serving(rig) as panel, tab(devtools) as page:
        await page.open(panel.address, **window)
        yield page, panel
        assert page.troubles == []


async def drawer(page: Tab, name: str) -> None:
    """Open a drawer of the page, such as "Model", in place of the open one."""
    shown = f"document.querySelector('[data-drawer={name}]') !== null"
    if not await page.js(shown):
        await page.click(f"[data-drawer-tab={name}]")
        await page.until(shown)


async def prompt_part(page: Tab, name: str) -> None:
    """Show a part of the prompt card, such as "More"."""
    await page.js(f"document.querySelector('[data-prompt-part={name}]').click()")
    await page.until(f"document.querySelector('[data-prompt-part={name}]').ariaSelected === 'true'")


async def phone_tab(page: Tab, name: str) -> None:
    """Open a tab of a phone's page, such as "Looks"."""
    await page.click(f"[data-tab={name}]")
    await page.until(f"document.querySelector('[data-tab={name}][aria-current]') !== null")
