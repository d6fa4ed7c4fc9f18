"""The show menu and the learning of controls, on the page in a real browser."""

from __future__ import annotations

import asyncio

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.controllers.osc import map_owner
from lcm_daemon.controllers.osc.controller import Osc
from tests.rigs.osc_peers import Peer
from tests.rigs.page import opened
from tests.rigs.panel import Rig, until

CUES = (Cue("intro", {"strength": 0.4}), Cue("storm", {"strength": 0.8}))
ROW = {"name": "mirror", "file": "mirror.yaml", "own": True, "changed": False, "unsaved": 0, "doing": "", "note": ""}
SHOWS = ({"name": "mirror", "packaged": False, "current": True}, {"name": "demo", "packaged": True, "current": False})


def text(selector: str) -> str:
    return f"document.querySelector({selector!r})?.textContent.trim() ?? ''"


def button(label: str, inside: str) -> str:
    """JavaScript expression for a button with this label."""
    every = f"[...document.querySelectorAll({inside + ' button'!r})]"
    return f"{every}.find(e => e.textContent.trim().startsWith({label!r}))"


def test_the_show_menu_reloads_saves_and_opens(devtools):
    async def scenario():
        rig = Rig()
        rig.controls.set_list("show", (ROW,))
        rig.controls.set_list("shows", SHOWS)
        async with opened(devtools, rig) as (page, _):
            assert await page.js(text("[data-show]")) == "mirror"
            rig.controls.set_list("show", ({**ROW, "changed": True, "unsaved": 2},))
            await page.until(text("[data-show-changed]") + " === 'changed on disk'")
            await page.click("[data-chip=Show]")
            await page.until("!!" + button("Reload", "[data-popup=Show]"))
            assert await page.js(button("Save 2", "[data-popup=Show]") + ".disabled")  # it would overwrite the change
            await page.js(button("Reload", "[data-popup=Show]") + ".click()")
            rig.controls.set_list("show", ({**ROW, "unsaved": 2, "note": "3000 is not a number"},))
            await page.until(text("[data-show-note]") + " === '3000 is not a number'")
            await page.js(button("Save 2", "[data-popup=Show]") + ".click()")
            await page.write("[data-popup=Show] input", "second one")
            await page.js(button("Save as", "[data-popup=Show]") + ".click()")
            await page.click("[data-show-row=demo]")
            await until(lambda: len(rig.called) == 4)
            assert await page.js("document.querySelector('[data-show-row=mirror]').disabled")
        return [(call.name, call.arguments) for call in rig.called]

    assert asyncio.run(scenario()) == [
        ("show/reload", ()), ("show/save", ()), ("show/save_as", ("second one",)), ("show/open", ("demo",))]


def test_the_show_menu_offers_files_for_other_programs(devtools):
    async def scenario():
        rig = Rig()
        rig.controls.set_list("show", (ROW,))
        async with opened(devtools, rig) as (page, _):
            rig.controls.set_list("exports", (
                {"name": "toy", "program": "Toy", "help": "a toy", "missing": ""},
                {"name": "tree", "program": "Tree", "help": "a tree", "missing": "oscquery is off"}))
            await page.click("[data-chip=Show]")
            await page.until("!!document.querySelector('[data-export=tree]')")
            return await page.js("[...document.querySelectorAll('[data-export]')]"
                                 ".map(e => [e.textContent.trim(), e.getAttribute('href'), e.title, "
                                 "e.hasAttribute('download')])")

    assert asyncio.run(scenario()) == [
        ["Toy", "/export/toy", "a toy", True], ["Tree", None, "oscquery is off", True]]


def test_a_control_is_learned_by_a_right_click_and_changed_afterwards(devtools, monkeypatch):
    monkeypatch.setattr(map_owner, "QUIET_SECONDS", 0.05)

    async def right_click(page, selector, opened="[data-learn]"):
        x, y = await page.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="right", clickCount=1)
        await page.until(f"document.querySelector({opened!r}) !== null")

    async def press(page, label):
        await page.until("!!" + button(label, "[data-learn]"))
        await page.js(button(label, "[data-learn]") + ".click()")

    async def scenario():
        rig = Rig(cues=CUES)
        rig.controls.set_list("show", (ROW,))
        rig.controls.set_list("curves", ({"name": "linear"}, {"name": "exp"}))
        osc = Osc(rig.controls, {"port": 0})
        await osc.start()
        learning = rig.controls.learning
        row = "[data-parameter=strength] [role=slider]"
        try:
            async with opened(devtools, rig) as (page, _):
                with Peer(osc.port) as peer:
                    await right_click(page, row)
                    await press(page, "Learn")
                    await page.until("document.querySelector('[data-parameter=strength][data-learning]') !== null")
                    await page.key("Escape")
                    await page.until("document.querySelector('[data-learn]') === null")
                    await until(lambda: learning.target == "")

                    await right_click(page, row)
                    await press(page, "Learn")
                    await until(lambda: learning.target == "strength")
                    peer.send("/1/fader1", 0.25)
                    await page.until(text("[data-parameter=strength] [data-bound]") + " === '/1/fader1'")
                    peer.send("/1/fader1", 0.75)
                    await until(lambda: rig.controls.values["strength"] == 0.75)
                    await page.until("document.querySelector('[data-binding] select') !== null")
                    await page.js("(e => { e.value = 'exp'; e.dispatchEvent(new Event('change', {bubbles: true})) })"
                                  "(document.querySelector('[data-binding] select'))")
                    await page.js("(e => { e.value = '0.5'; e.dispatchEvent(new Event('change', {bubbles: true})) })"
                                  "(document.querySelector('[data-binding] input'))")
                    await until(lambda: rig.controls.lists["bindings"][0]["low"] == 0.5)
                    assert rig.controls.lists["bindings"][0]["curve"] == "exp"
                    await page.key("Escape")

                    await right_click(page, "[data-parameter=mix] [role=slider]")
                    await press(page, "Learn")
                    await until(lambda: learning.target == "mix")
                    peer.send("/1/fader1", 0.3)
                    await page.until("document.querySelector('[data-learn=conflict]') !== null")
                    assert "/1/fader1 is bound to strength already." in await page.js(text("[data-learn]"))
                    await press(page, "Move it here")
                    await page.until(text("[data-parameter=mix] [data-bound]") + " === '/1/fader1'")
                    assert await page.js("document.querySelector('[data-parameter=strength] [data-bound]') === null")
                    await press(page, "Remove")
                    await until(lambda: rig.controls.lists["bindings"] == ())
                    await page.key("Escape")

                    # commands: buttons that act when pressed, the tile of a look, switches, the menu of the show
                    for place, target in (("[data-command='cue/go']", "cue/go"), ("[data-command=panic]", "panic"),
                                          ("[data-parameter=freeze]", "freeze"),
                                          ("[data-command='cue/pause']", "cue/pause")):
                        await right_click(page, place)
                        await press(page, "Learn")
                        await until(lambda target=target: learning.target == target)
                        await page.until(f"document.querySelector({place!r}).hasAttribute('data-learning')")
                        await page.key("Escape")
                        await until(lambda: learning.target == "")
                    await right_click(page, "[data-cue=intro]", "[data-look-menu]:popover-open")
                    await page.click("[data-look-learn]")
                    await press(page, "Learn")
                    await until(lambda: learning.target == "cue/goto intro")
                    peer.send("/1/push1")
                    await page.until("document.querySelector(\"[data-binding='/1/push1']\") !== null")
                    assert "Look “intro”" in await page.js(text("[data-learn]"))
                    await page.key("Escape")
                    await page.until("document.querySelector('[data-cue=intro]').title.includes('/1/push1')")
                    await page.click("[data-chip=Show]")
                    await page.until("document.querySelector('[data-learn-command]') !== null")
                    await page.click("[data-learn-command='record/start']")
                    await press(page, "Learn")
                    await until(lambda: learning.target == "record/start")
                    await page.key("Escape")
                    await until(lambda: learning.target == "")
                    assert rig.called == []  # nothing of this has run a command
                    peer.send("/1/push1", 1)
                    await until(lambda: bool(rig.called))
        finally:
            await osc.stop()
        return [(call.name, call.arguments) for call in rig.called]

    assert asyncio.run(scenario()) == [("cue/goto", ("intro",))]


def test_a_long_press_opens_the_menu_and_the_switch_stays(devtools):
    async def press_for(page, selector, seconds):
        x, y = await page.place(selector)
        await page.touch("touchStart", (x, y))
        await asyncio.sleep(seconds)
        await page.touch("touchEnd")

    async def scenario():
        rig = Rig(cues=CUES)
        async with opened(devtools, rig, width=390, height=844, touch=True) as (page, _):
            for name in ("freeze", "blackout", "master"):
                await press_for(page, f"[data-parameter={name}]", 0.8)
                await page.until("document.querySelector('[data-learn] h2').textContent.toLowerCase()"
                                 f" === {name!r}")
                await page.key("Escape")
                await page.until("document.querySelector('[data-learn]') === null")
            assert not [change for change in rig.taken if change.name != "master"]
            await press_for(page, "[data-parameter=freeze]", 0.05)
            await until(lambda: rig.controls.values["freeze"] is True)
            await press_for(page, "[data-command=panic]", 0.8)  # it acts at once, and no menu gets in the way
            await until(lambda: [call.name for call in rig.called] == ["panic"])
            assert await page.js("document.querySelector('[data-learn]') === null")

    asyncio.run(scenario())
