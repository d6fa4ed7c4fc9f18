"""The looks on the page: tiles, thumbnails, menu, keys, touch, order, undo, two pages; and their pictures over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from lcm_daemon.automation.automation import Automation
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.core.frame import solid
from lcm_daemon.core.requests import CommandRequest
from tests.rigs.browser import SHIFT, Tab, tab
from tests.rigs.page import opened, phone_tab
from tests.rigs.panel import Rig, get, serving, until

SHOW = (Cue("dawn", {"strength": 0.4, "prompt": "sunset"}, fade=4.0), Cue("storm", {"strength": 0.8}, follow=2.0))
ALT = 1  # the DevTools protocol's bit
RED, BLUE = (255, 0, 0, 255), (0, 0, 255, 255)
MENU = "document.querySelector('[data-look-menu]')"
TILES = "[...document.querySelectorAll('[data-cue]')]"


class Looks:
    """A panel with the cues of a show and two saved looks, "a" and "b", each with a thumbnail."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(cues=SHOW)
        self.output = solid((64, 36), RED)
        self.rig.automation = Automation(
            SHOW, (), self.rig.parameters, lambda recipe: None, folder / "show.yaml", picture=lambda: self.output)
        self.rig.controls.looks_folder = self.rig.automation.editor.folder
        for name in ("a", "b"):
            self.call("cue/record", name)

    def call(self, name: str, *arguments: str | float) -> None:
        """Another controller gives a command."""
        self.rig.automation.execute(CommandRequest(name, "osc/127.0.0.1:9", arguments), self.rig.now)

    async def settle(self) -> None:
        """Report until everything is written."""
        def is_settled() -> bool:
            self.rig.step()
            editor = self.rig.automation.editor
            return all(row["thumbnail"] for row in self.rows() if row["origin"] == "recorded") and all(
                editor._store.has(cue) for cue in editor._recorded.values())
        await until(is_settled)

    def rows(self) -> list[dict[str, object]]:
        return [dict(row) for row in self.rig.automation.editor.rows()]

    @property
    def names(self) -> list[str]:
        return [cue.name for cue in self.rig.automation.cue_list.cues]


def tile(name: str) -> str:
    return f'[data-cue="{name}"]'


async def shows(page: Tab, *names: str) -> None:
    await page.until(f"({TILES}).map(e => e.dataset.cue).join('|') === {'|'.join(names)!r}")


async def key_on(page: Tab, name: str, key: str, modifiers: int = 0) -> None:
    """Press a key while a look has the focus."""
    await page.js(f"document.querySelector({tile(name)!r}).focus()")
    await page.key(key, modifiers)


async def focus(page: Tab, name: str) -> None:
    await page.until(f"document.activeElement.dataset.cue === {name!r}")


async def right_click(page: Tab, selector: str) -> None:
    x, y = await page.place(selector)
    for kind in ("mousePressed", "mouseReleased"):
        await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="right", clickCount=1,
                        buttons=2 if kind == "mousePressed" else 0)


def test_a_look_is_played_renamed_set_moved_overwritten_and_deleted_by_mouse(devtools: str, tmp_path: Path) -> None:
    looks = Looks(tmp_path)

    async def scenario() -> None:
        await looks.settle()
        async with opened(devtools, looks.rig) as (page, _):
            await shows(page, "dawn", "storm", "a", "b")
            await page.until(f"document.querySelector({tile('a') + ' img'!r})?.naturalWidth === 64")
            assert await page.js(f"document.querySelector({tile('dawn') + ' img'!r})") is None
            label = await page.js(f"document.querySelector({tile('storm')!r}).ariaLabel")
            assert label == "2 storm. Fade 0 s, next look 2 s after it"
            await page.click(tile("a"))
            await page.until(f"document.querySelector({tile('a')!r}).ariaCurrent === 'step'")
            await by_menu(page)
            await shows(page, "dawn", "a first", "storm", "b", "b 2")
            await page.click("[data-command='cue/undo']")
            await shows(page, "dawn", "a first", "storm", "b")
            await show_cues(page)

    async def by_menu(page: Tab) -> None:
        await right_click(page, tile("a"))
        await page.until(f"{MENU}.matches(':popover-open')")
        for command, text in (("rename", "a first"), ("fade", "2.5"), ("follow", "7")):
            await page.write(f"[data-look-menu] [data-command='cue/{command}']", text)
            await page.js("document.activeElement.blur()")
        await until(lambda: looks.names == ["dawn", "storm", "a first", "b"])
        await until(lambda: (looks.rows()[2]["fade"], looks.rows()[2]["follow"]) == (2.5, 7.0))
        await page.click("[data-look-menu] [data-command='cue/move']")
        await until(lambda: looks.names == ["dawn", "a first", "storm", "b"])
        before, looks.output = looks.rows()[1]["thumbnail"], solid((64, 36), BLUE)
        await page.click("[data-look-menu] [data-command='cue/overwrite']")
        await page.until(f"!{MENU}.matches(':popover-open')")
        await until(lambda: looks.rig.called[-1].name == "cue/overwrite")
        await looks.settle()
        now = looks.rows()[1]["thumbnail"]
        assert now != before
        await page.until(f"document.querySelector({tile('a first') + ' img'!r})?.src.endsWith({now!r})")
        await right_click(page, tile("b"))
        await page.click("[data-look-menu] [data-command='cue/duplicate']")

    async def show_cues(page: Tab) -> None:
        await right_click(page, tile("storm"))
        await page.until(f"{MENU}.querySelector('[data-command=\"cue/delete\"]').disabled")
        assert "In the show file" in await page.js(f"{MENU}.innerText")
        await page.write("[data-look-menu] [data-command='cue/fade']", "3")
        await page.key("Enter")
        await page.until(f"{MENU}.innerText.includes(\"Return to the show file's\")")
        await page.click("[data-look-menu] [data-command='cue/delete']")
        await until(lambda: looks.rows()[2]["origin"] == "show")

    asyncio.run(scenario())


def test_keys_play_load_move_rename_and_delete_and_a_second_page_follows(devtools: str, tmp_path: Path) -> None:
    looks = Looks(tmp_path)

    async def scenario() -> None:
        await looks.settle()
        async with opened(devtools, looks.rig) as (page, panel), tab(devtools) as other:
            await other.open(panel.address)
            await shows(other, "dawn", "storm", "a", "b")
            assert await page.js(f"({TILES}).filter(e => e.tabIndex === 0).map(e => e.dataset.cue)") == ["dawn"]
            await key_on(page, "dawn", "ArrowRight")
            await focus(page, "storm")
            await page.key("End")
            await focus(page, "b")
            await page.key("Enter")
            await other.until(f"document.querySelector({tile('b')!r}).dataset.state === 'current'")
            await key_on(page, "a", "Enter", SHIFT)
            await other.until(f"document.querySelector({tile('a')!r}).dataset.state === 'next'")
            await key_on(page, "b", "ArrowLeft", ALT)
            await shows(other, "dawn", "storm", "b", "a")
            await key_on(page, "b", "F2")
            await page.until("document.activeElement.value === 'b'")
            await page.call("Input.insertText", text="it's \"b\" / ü <b>")
            await page.key("Enter")
            await shows(other, "dawn", "storm", "it's \"b\" / ü <b>", "a")
            await key_on(page, "a", "F2")
            await page.call("Input.insertText", text="storm")
            await page.key("Enter")
            await page.until("document.querySelector('[role=alert]') !== null")
            await key_on(page, "a", "F2")
            await page.key("Escape")
            await focus(page, "a")
            await page.key("Delete")
            await shows(other, "dawn", "storm", "it's \"b\" / ü <b>")
            await page.click("[data-command='cue/undo']")
            await shows(other, "dawn", "storm", "it's \"b\" / ü <b>", "a")
            looks.call("cue/delete", "a")
            looks.rig.step()
            await shows(page, "dawn", "storm", "it's \"b\" / ü <b>")
            assert other.troubles == []

    asyncio.run(scenario())


def test_a_long_press_opens_the_menu_and_a_drag_moves_a_look(devtools: str, tmp_path: Path) -> None:
    looks = Looks(tmp_path)

    async def scenario() -> None:
        await looks.settle()
        async with opened(devtools, looks.rig) as (page, _):
            await drag(page, tile("b"), tile("dawn"))
            await shows(page, "b", "dawn", "storm", "a")
            await page.resize(390, 844, touch=True)
            await phone_tab(page, "Looks")
            looks.rig.called.clear()
            place = await page.place(tile("a"))
            await page.touch("touchStart", place)
            await page.until(f"{MENU}.matches(':popover-open')")
            await page.touch("touchEnd")
            box = await page.js(f"{MENU}.getBoundingClientRect().toJSON()")
            assert min(box["left"], box["top"], 390 - box["right"], 844 - box["bottom"]) >= 0, "it is in the window"
            heights = await page.js(f"[...{MENU}.querySelectorAll('button, input')].map(e => e.offsetHeight)")
            assert min(heights) >= 44
            await page.click("[data-look-menu] [data-command='cue/load']")
            await until(lambda: looks.rig.called)
        assert [call.name for call in looks.rig.called] == ["cue/load"], "the long press has not played it"

    asyncio.run(scenario())


async def drag(page: Tab, what: str, to: str) -> None:
    await page.js(f"""(() => {{
        const [from, to] = [{what!r}, {to!r}].map(each => document.querySelector(each));
        const given = {{bubbles: true, cancelable: true, dataTransfer: new DataTransfer()}};
        const send = (kind, target) => target.dispatchEvent(new DragEvent(kind, given));
        send('dragstart', from); send('dragover', to); send('drop', to) }})()""")


def test_what_is_wrong_with_the_file_is_shown_until_it_is_over(devtools: str, tmp_path: Path) -> None:
    looks, obstacle = Looks(tmp_path), tmp_path / "show.cues.yaml.new"

    async def scenario() -> None:
        await looks.settle()
        looks.rig.automation.editor._store._retry = 0.05
        obstacle.mkdir()
        async with opened(devtools, looks.rig) as (page, _):
            await page.click("[data-command='cue/record']")
            await page.write("[data-deck] form input", "not kept")
            await page.key("Enter")
            await until(lambda: looks.rig.step() or looks.rig.automation.editor.trouble)
            await page.until("document.querySelector('[data-cue-file]')?.innerText.includes('cannot be saved')")
            await page.until(f"document.querySelector({tile('not kept')!r}).innerText.includes('not saved')")
            await page.click(tile("not kept"))
            await page.until(f"document.querySelector({tile('not kept')!r}).dataset.state === 'current'")
            obstacle.rmdir()
            await until(lambda: looks.rig.step() or not looks.rig.automation.editor.trouble)
            await page.until("document.querySelector('[data-cue-file]') === null")

    asyncio.run(scenario())


def test_a_full_list_is_shown_and_played(devtools: str, tmp_path: Path) -> None:
    looks = Looks(tmp_path)

    async def scenario() -> None:
        await looks.settle()
        for number in range(252):
            looks.call("cue/duplicate", "a", f"look {number}")
        async with opened(devtools, looks.rig) as (page, _):
            await page.until(f"({TILES}).length === 256")
            await page.click("[data-command='cue/record']")
            await page.key("Enter")
            alerts = "[...document.querySelectorAll('[role=alert]')].map(e => e.innerText)"
            await page.until(f"{alerts}.some(text => text.includes('the limit is 256 cues'))")
            await key_on(page, "look 251", "Enter")
            await page.until(f"document.querySelector({tile('look 251')!r}).dataset.state === 'current'")
            await page.until(f"document.querySelector({tile('look 251') + ' img'!r})?.naturalWidth === 64")

    asyncio.run(scenario())


@pytest.mark.slow
def test_only_thumbnails_of_looks_are_served(tmp_path: Path) -> None:
    looks = Looks(tmp_path)

    async def scenario() -> None:
        await looks.settle()
        folder = looks.rig.controls.looks_folder
        assert folder is not None
        name = str(looks.rows()[2]["thumbnail"])
        (folder / "0123456789abcdef.jpg").write_bytes((folder / f"{name}.jpg").read_bytes())
        async with serving(looks.rig) as panel:
            answer = await get(panel, f"/thumbnails/looks/{name}")
            assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
            (tmp_path / "seen.jpg").write_bytes(answer.body)
            with Image.open(tmp_path / "seen.jpg") as image:
                assert image.size == (64, 36)
            for path in ("", "0123456789abcdef", f"{name}.jpg", "../show.cues.yaml", "..%2fshow.cues.yaml", "%00"):
                assert (await get(panel, f"/thumbnails/looks/{path}")).status == 404, path
            assert (await get(panel, f"/thumbnails/looks/{'x' * 4000}")).status == 414
            foreign = await get(panel, f"/thumbnails/looks/{name}", Origin="http://evil.example")
            assert foreign.status == 403
            (folder / f"{name}.jpg").write_text("no picture")
            assert (await get(panel, f"/thumbnails/looks/{name}")).status == 404
            (folder / f"{name}.jpg").unlink()
            assert (await get(panel, f"/thumbnails/looks/{name}")).status == 404

    asyncio.run(scenario())
