"""The page's connection in a real browser: a network that dies, values that change meanwhile, drafts and commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.controllers.panel.controller import Panel
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.requests import ParameterState
from tests.rigs.browser import Tab, tab
from tests.rigs.page import control, drawer, field, number, opened
from tests.rigs.panel import Rig, serving, until
from tests.rigs.proxy import Proxy, between

CUES = (Cue("dawn"), Cue("storm"), Cue("night"))
GO, PANIC = "[data-command='cue/go']", "[data-command=panic]"
ONLINE, OFFLINE = (f"document.querySelector('[data-link={state}]') !== null" for state in ("online", "offline"))
PATIENCE_MS = 5000  # of the page with a silent network, at the very most


@asynccontextmanager
async def behind(devtools: str, rig: Rig) -> AsyncIterator[tuple[Tab, Proxy, Panel]]:
    """A page whose network can stall."""
    async with serving(rig) as panel, between(panel.port) as (proxy, port), tab(devtools) as page:
        rig.step()
        await page.open(f"http://127.0.0.1:{port}")
        yield page, proxy, panel


async def press(page: Tab, selector: str, finger: bool = False) -> None:
    """A press without scrolling, which a person would see as one; by a finger where `finger`."""
    place = await page.place(selector)
    if finger:
        await page.touch("touchStart", place)
        return await page.touch("touchEnd")
    await page.mouse("mousePressed", *place)
    return await page.mouse("mouseReleased", *place)


def test_a_network_that_dies_is_noticed_and_nothing_pressed_meanwhile_is_obeyed_later(devtools):
    async def scenario():
        rig = Rig(cues=CUES)
        async with behind(devtools, rig) as (page, proxy, panel):
            proxy.stall()
            await press(page, GO)  # the page cannot know yet
            begun = await page.js("performance.now()")
            await page.until(OFFLINE)
            waited = await page.js("performance.now()") - begun
            await press(page, GO)
            await page.key(" ")
            proxy.resume()
            await page.until(ONLINE)
            await until(lambda: rig.controls.metrics.counts().get("panel/late") == 1)
            before = list(rig.called)
            await press(page, GO)
            await until(lambda: rig.called)
            await until(lambda: len(panel._server._clients) == 1)
            return waited, before, rig.called

    waited, before, called = asyncio.run(scenario())
    assert 2000 < waited < PATIENCE_MS
    assert before == []
    assert [call.name for call in called] == ["cue/go"]


def test_a_quiet_show_is_not_taken_for_a_dead_network_nor_a_page_that_was_asleep(devtools):
    async def scenario():
        async with serving(Rig()) as panel, tab(devtools) as page, tab(devtools) as asleep:
            for each in (page, asleep):
                await each.open(panel.address)
            await asleep.call("Debugger.enable")
            await asleep.call("Debugger.pause")  # as a browser does with a page that nobody sees
            await page.js("new Promise(done => setTimeout(done, 4500))")
            await asleep.call("Debugger.resume")
            for each in (page, asleep):
                await each.js("new Promise(done => setTimeout(done, 1000))")
            return list(panel._server._clients)

    assert asyncio.run(scenario()) == ["panel/1", "panel/2"]


def test_a_late_move_is_not_obeyed_and_the_page_shows_what_is_so(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.js("WebSocket.prototype.send = (send => function (text) { send.call(this,"
                          " text.replace(/\"beat\":([0-9.]+)/, (_, beat) => `\"beat\":${beat - 9}`)) })"
                          "(WebSocket.prototype.send)")
            await page.click(control("freeze"))
            await until(lambda: rig.controls.metrics.counts().get("panel/late") == 1)
            await page.until(f"document.querySelector({control('freeze')!r}).ariaChecked === 'false'")
            await page.until("document.querySelector('[data-error]').innerText.includes('ignored')")
            return rig.taken

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("finger", [False, True])
def test_what_is_typed_before_panic_is_void(devtools, finger):
    async def scenario():
        rig = Rig(cues=CUES)
        rig.step()
        async with opened(devtools, rig) as (page, _):
            for name, draft in (("prompt", "half a thought"), ("strength", "0.93")):
                await page.write(control(name, "textarea" if name == "prompt" else "input"), draft)
                await press(page, PANIC, finger)
                await page.until(f"{field('prompt', 'textarea')} === 'half a thought' && {number('strength')} === 0.5")
            await page.js("new Promise(done => setTimeout(done, 800))")
            return [call.name for call in rig.called], rig.taken, rig.parameters.targets()

    called, taken, values = asyncio.run(scenario())
    assert called == ["panic", "panic"]
    assert taken == []
    assert (values["prompt"], values["strength"]) == ("ocean", 0.5)


@pytest.mark.parametrize("finger", [False, True])
def test_of_what_is_typed_before_go_a_number_counts_and_a_prompt_stays_a_draft(devtools, finger):
    async def scenario():
        rig = Rig(cues=(Cue("dawn", {"prompt": "sunrise"}),))
        rig.step()
        async with opened(devtools, rig) as (page, _):
            await page.write(control("prompt"), "half a thought")
            await page.write(control("strength", "input"), "0.93")
            await press(page, GO, finger)
            await page.until(f"document.querySelector({control('prompt', '[data-overtaken]')!r})?.innerText"
                             " === 'now: sunrise'")
            return [(change.name, change.value) for change in rig.taken], await page.js(field("prompt", "textarea"))

    assert asyncio.run(scenario()) == ([("strength", 0.93)], "half a thought")


def test_a_draft_outlives_a_break_and_waits_for_its_writer(devtools):
    shown = field("prompt", "textarea")

    async def scenario():
        rig = Rig()
        async with behind(devtools, rig) as (page, proxy, _):
            await page.write(control("prompt"), "a long thought")
            proxy.cut()
            await page.until(OFFLINE)
            await page.until(ONLINE)
            kept, before = await page.js(shown), list(rig.taken)
            await page.js(f"document.querySelector({control('prompt')!r}).focus()")
            await page.key("Enter")
            await until(lambda: rig.taken)
            return kept, before, rig.taken[0].value

    assert asyncio.run(scenario()) == ("a long thought", [], "a long thought")


def test_a_held_field_shows_the_truth_when_it_is_left_after_a_change_of_recipe(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "LoRA")
            await page.js(f"document.querySelector({control('strength', 'input')!r}).focus()")
            rig.parameters.set("strength", 0.75, 0.0)
            rig.change_recipe(Parameter("lora/ink", "float", 0.5, "How much ink.", -2.0, 2.0, group="LoRA"))
            await page.until("document.querySelector(\"[data-parameter='lora/ink']\") !== null")
            held = await page.js(number("strength"))
            await page.js("document.activeElement.blur()")
            await page.until(f"{number('strength')} === 0.75")
            return held

    assert asyncio.run(scenario()) == 0.5


def test_a_fader_held_over_a_break_shows_the_truth_when_it_is_let_go(devtools):
    async def scenario():
        rig = Rig()
        async with behind(devtools, rig) as (page, proxy, _):
            await page.mouse("mousePressed", *await page.place(control("strength"), 0.3))
            await until(lambda: rig.taken)
            proxy.cut()
            await page.until(OFFLINE)
            await page.mouse("mouseMoved", *await page.place(control("strength"), 0.8))
            rig.move("strength", 0.1)
            await page.until(ONLINE)
            held = await page.js(number("strength"))
            await page.mouse("mouseReleased", *await page.place(control("strength"), 0.8))
            await page.until(f"{number('strength')} === 0.1")
            return held, len(rig.taken)

    held, moves = asyncio.run(scenario())
    assert held > 0.7
    assert moves == 1


def test_the_value_in_force_stands_on_the_fader_and_a_hand_takes_over_from_a_fade(devtools):
    force = f"document.querySelector({control('strength', '[data-effective]')!r})"

    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.until(f"{force} === null")
            live = {"strength": ParameterState(0.5, 0.25, 'cue "dawn"'), "steps": ParameterState(2, 2, "show"),
                    "prompt": ParameterState("ocean", "ocean::0.50 lava::0.50", "show")}
            rig.controls.apply_update([], {}, live)
            await page.until(f"{force}?.dataset.effective === '0.25'")
            marks = await page.js("document.querySelectorAll('[data-effective]').length")
            await page.mouse("mousePressed", *await page.place(control("strength")))
            await page.mouse("mouseReleased", *await page.place(control("strength")))
            await until(lambda: rig.taken)
            shown = await page.js(number("strength"))
            rig.controls.apply_update([], {}, {"strength": ParameterState(0.5, 0.5, "page")})
            await page.until(f"{force} === null")
            return marks, rig.taken[0].value, shown

    assert asyncio.run(scenario()) == (1, 0.5, 0.5)


def test_a_tap_of_a_finger_takes_over_from_a_fade_and_else_does_nothing(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig, width=390, height=844, touch=True) as (page, _):
            await press(page, control("strength"), finger=True)
            await page.js("new Promise(done => setTimeout(done, 600))")  # two quick taps are a reset
            before = len(rig.taken)
            rig.controls.apply_update([], {}, {"strength": ParameterState(0.5, 0.25, 'cue "dawn"')})
            await page.until("document.querySelector('[data-effective]') !== null")
            await press(page, control("strength"), finger=True)
            await until(lambda: rig.taken)
            return before, [(change.name, change.value) for change in rig.taken]

    assert asyncio.run(scenario()) == (0, [("strength", 0.5)])
