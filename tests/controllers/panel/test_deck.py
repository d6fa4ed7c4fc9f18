"""The page's cues, tempo and panic in a real browser. The cues are played by the real Automation."""

from __future__ import annotations

import asyncio

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.core.frame import solid
from lcm_daemon.core.requests import CommandRequest
from tests.rigs.browser import SHIFT, Tab
from tests.rigs.page import control, opened, phone_tab
from tests.rigs.panel import Rig, until

CUES = (Cue("dawn", {"strength": 0.4}), Cue("storm", {"strength": 0.8}, delay=5.0), Cue("night", {"prompt": "stars"}))
SIZES = {"phone": (360, 640), "phone on its side": (844, 390), "small tablet": (768, 1024), "tablet": (820, 1180),
         "small tablet on its side": (1024, 768), "tablet on its side": (1180, 820), "desktop": (1440, 900)}
DECK = """[...document.querySelectorAll('[data-deck] [data-command]')].filter(e => !e.closest('ol')).map(e => {
    const {left, top, right, bottom, width, height} = e.getBoundingClientRect();
    return {name: e.dataset.command, left, top, right, bottom, width, height} })"""
STILL = """new Promise(done => { const list = document.querySelector('.frame-looks'); let before = -1
    const look = () =>
    list.scrollTop === before ? done() : (before = list.scrollTop, setTimeout(look, 150)); look() })"""


def button(command: str) -> str:
    return f"[data-command='{command}']"


async def pads(page: Tab) -> dict[str, str]:
    """Every cue on the page and what it is: current, coming, next or nothing."""
    found: dict[str, str] = await page.js(
        "Object.fromEntries([...document.querySelectorAll('[data-cue]')].map(e => [e.dataset.cue, e.dataset.state]))")
    return found


async def are(page: Tab, **states: str) -> None:
    """Wait until those cues, and no others, stand out."""
    wanted = "".join(f"{name}:{state};" for name, state in states.items())
    await page.until("[...document.querySelectorAll('[data-cue]')].filter(e => e.dataset.state)"
                     f".map(e => e.dataset.cue + ':' + e.dataset.state + ';').join('') === {wanted!r}")


async def playing(devtools: str, rig: Rig, scenario, **window: int):
    rig.step()
    async with opened(devtools, rig, **window) as (page, _):
        return await scenario(page)


def test_go_back_and_a_click_lead_through_the_cues(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        await are(page, dawn="next")
        await page.click(button("cue/go"))
        await are(page, dawn="current", storm="next")
        assert rig.parameters.targets()["strength"] == 0.4
        await page.click("[data-cue=night]")
        await are(page, night="current")
        await page.until(f"document.querySelector({button('cue/go')!r}).disabled")  # the end of the list
        await page.click(button("cue/back"))
        await are(page, storm="coming", night="current")  # it waits for its delay
        rig.now = 5.0
        rig.step()
        await are(page, storm="current", night="next")
        await page.click(button("cue/release"))
        await are(page, dawn="next")

    asyncio.run(playing(devtools, rig, scenario))
    assert [(call.name, call.arguments) for call in rig.called] == [
        ("cue/go", ()), ("cue/goto", ("night",)), ("cue/back", ()), ("cue/release", ())]


def test_back_at_the_first_cue_leads_to_the_last_in_a_loop_only(devtools):
    back = f"document.querySelector({button('cue/back')!r})"

    async def first(page):
        await page.click(button("cue/go"))
        await are(page, dawn="current", storm="next")
        return await page.js(f"{back}.disabled")

    async def wraps(page):
        await first(page)
        await page.until(f"!{back}.disabled && {back}.innerText.includes('night')")
        await page.click(button("cue/back"))
        await are(page, dawn="next", night="current")

    assert asyncio.run(playing(devtools, Rig(cues=CUES), first)) is True
    asyncio.run(playing(devtools, Rig(cues=CUES, loop=True), wraps))


def test_go_says_where_it_leads_and_counts_from_what_was_just_asked_for(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        assert "dawn" in await page.js(f"document.querySelector({button('cue/go')!r}).innerText")
        rig.answers = False  # the stage takes its time
        await page.click(button("cue/go"))
        await are(page, dawn="coming", storm="next")
        await page.click(button("cue/go"))
        await are(page, storm="coming", night="next")

    asyncio.run(playing(devtools, rig, scenario))


def test_what_others_do_to_the_cues_is_shown(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        rig.automation.execute(CommandRequest("cue/go", "osc/127.0.0.1:9"), rig.now)
        rig.step()
        await are(page, dawn="current", storm="next")
        rig.automation.cue_list.cues = [Cue("dawn"), Cue("noon")]  # the show's file was read again
        rig.step()
        await are(page, dawn="current", noon="next")
        return await pads(page)

    assert asyncio.run(playing(devtools, rig, scenario)) == {"dawn": "current", "noon": "next"}


def test_keys_go_back_and_tap_unless_a_switch_or_a_field_has_the_focus(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        await page.key(" ")
        await are(page, dawn="current", storm="next")
        await page.click("[data-cue=dawn]")
        await page.key(" ")  # and not a click of the button that the mouse has left behind
        await until(lambda: [call.name for call in rig.called] == ["cue/go", "cue/goto", "cue/go"])
        await page.js(f"document.querySelector({control('freeze')!r}).focus()")
        await page.key(" ")
        await until(lambda: rig.parameters.targets()["freeze"] is True)
        await page.js("document.activeElement.blur()")
        await page.key(" ", SHIFT)
        await page.key("t")
        await until(lambda: len(rig.called) == 5)
        await page.write(control("seed", "input"), "")
        for key in (" ", "t"):
            await page.key(key)
        await page.js("document.activeElement.blur()")
        await page.js("window.dispatchEvent(new KeyboardEvent('keydown', {key: ' ', repeat: true}))")
        await page.key("t")
        await until(lambda: len(rig.called) >= 6)

    asyncio.run(playing(devtools, rig, scenario))
    assert [call.name for call in rig.called] == ["cue/go", "cue/goto", "cue/go", "cue/back", "tap", "tap"]
    assert [change.name for change in rig.taken] == ["freeze"]


def test_the_question_mark_lists_the_keys(devtools):
    async def scenario(page):
        await page.key("?")
        await page.until("document.querySelector('[data-keys]').open")
        words = await page.js("document.querySelector('[data-keys]').innerText")
        await page.key("Escape")
        await page.until("!document.querySelector('[data-keys]').open")
        return words

    words = asyncio.run(playing(devtools, Rig(cues=CUES), scenario))
    assert "Space" in words
    assert "GO" in words
    assert "Full screen" in words


def test_enter_leaves_a_field_so_that_space_is_go_again(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        await page.write(control("seed", "input"), "7")
        await page.key("Enter")
        await page.key(" ")
        await until(lambda: rig.called)

    asyncio.run(playing(devtools, rig, scenario))
    assert [call.name for call in rig.called] == ["cue/go"]
    assert {change.name: change.value for change in rig.taken} == {"seed": 7}


def test_a_held_enter_presses_a_button_once(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        for selector, heard in ((button("cue/go"), rig.called), (control("freeze"), rig.taken)):
            await page.js(f"document.querySelector({selector!r}).focus()")
            for repeat in (False, True, True, True):
                await page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", text="\r",
                                windowsVirtualKeyCode=13, autoRepeat=repeat)
            await until(lambda heard=heard: len(heard) == 1)  # of moves within one frame the page sends the last
            await page.key("Enter")
            await until(lambda heard=heard: len(heard) == 2)

    asyncio.run(playing(devtools, rig, scenario))
    assert [call.name for call in rig.called] == ["cue/go", "cue/go"]
    assert [change.value for change in rig.taken] == [True, False]


def test_taps_move_the_tempo_that_is_shown(devtools):
    rig = Rig(cues=CUES)
    shown = "document.querySelector('[data-bpm]').innerText"

    async def scenario(page):
        await page.until(f"{shown} === '120.0 bpm'")
        for count in range(3):
            rig.now = 10.0 + count * 0.4
            await page.click(button("tap"))
            await until(lambda count=count: len(rig.called) == count + 1)
        await page.until(f"{shown} === '150.0 bpm'")

    asyncio.run(playing(devtools, rig, scenario))


def test_a_look_is_recorded_under_a_name_and_appears(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        await page.click(button("cue/record"))
        assert await page.until("document.activeElement.value") == "look 4"
        await page.key("Escape")
        await page.until("document.querySelector('[data-deck] form') === null")
        await page.click(button("cue/record"))
        await page.write("[data-deck] form input", "found it")
        await page.key("Enter")
        await page.until("document.querySelector(\"[data-cue='found it']\") !== null")
        await page.click(button("cue/record"))
        await page.write("[data-deck] form input", "storm")
        await page.until("document.querySelector('[data-deck] form button').innerText === 'Overwrite'")

    asyncio.run(playing(devtools, rig, scenario))
    assert rig.called == [CommandRequest("cue/record", "panel/1", ("found it",))]
    assert [cue.name for cue in rig.automation.cue_list.cues][-1] == "found it"


def test_a_show_without_cues_has_record_alone_and_leaves_the_keys_alone(devtools):
    rig = Rig()

    async def scenario(page):
        await page.key(" ")
        await page.key("t")
        await page.click(button("panic"))
        await until(lambda: rig.called)
        return await page.js("[...document.querySelectorAll('[data-deck] [data-command]')].map(e => e.dataset.command)")

    assert asyncio.run(playing(devtools, rig, scenario)) == ["cue/record"]
    assert [call.name for call in rig.called] == ["tap", "panic"]


def test_panic_is_given_by_the_press_and_once(devtools):
    rig = Rig(cues=CUES)

    async def scenario(page):
        await page.mouse("mousePressed", *await page.place(button("panic")))
        await until(lambda: rig.called)
        await page.mouse("mouseReleased", *await page.place(button("panic")))
        await page.js(f"document.querySelector({button('panic')!r}).focus()")
        await page.key("Enter")
        await until(lambda: len(rig.called) == 2)

    asyncio.run(playing(devtools, rig, scenario))
    assert [call.name for call in rig.called] == ["panic", "panic"]


def test_a_finger_goes_once_and_a_swipe_over_the_cues_does_not(devtools):
    rig = Rig(cues=[Cue(f"look {number}") for number in range(20)])

    async def scenario(page):
        await phone_tab(page, "Looks")
        place = await page.place(button("cue/go"))
        await page.touch("touchStart", place)
        await until(lambda: rig.called)
        await page.touch("touchEnd")
        x, y = await page.place("[data-cue='look 1']")
        await page.touch("touchStart", (x, y))
        for step in range(1, 8):
            await page.touch("touchMove", (x, y - 12 * step))
        await page.touch("touchEnd")
        await page.until("document.querySelector('.frame-looks').scrollTop > 40")
        await page.js("document.querySelector(\"[data-cue='look 5']\").scrollIntoView({block: 'center'})")
        await page.js(STILL)
        place = await page.place("[data-cue='look 5']")
        await page.touch("touchStart", place)
        await page.touch("touchEnd")
        await are(page, **{"look 5": "current", "look 6": "next"})

    asyncio.run(playing(devtools, rig, scenario, width=390, height=844, touch=True))
    assert [(call.name, call.arguments) for call in rig.called] == [("cue/go", ()), ("cue/goto", ("look 5",))]


def test_everything_fits_in_every_window_with_any_number_of_cues(devtools):
    """One page for all 21 cases, because a resize takes a tenth of the time of a page load."""
    rig = Rig(cues=CUES)
    listed = "document.querySelectorAll('[data-cue]').length"

    async def scenario(page):
        rig.show(solid((512, 512)))
        await page.until("document.querySelector('canvas').width === 512")
        return {(count, size): await measure(page, count, size) for count in (0, 3, 40) for size in SIZES}

    async def measure(page, count, size):
        width, height = SIZES[size]
        await page.resize(width, height, touch=width < 1200)
        if width < 640 or height < 480:
            await phone_tab(page, "Looks")
        rig.automation.execute(CommandRequest("cue/release", "test"), rig.now)
        names = [f"{number} a cue with a name that is longer than its place" for number in range(count)]
        rig.automation.cue_list.cues = [Cue(name) for name in names]
        rig.step()
        await page.until(f"{listed} === {count} && !document.querySelector('[data-state=current]')")
        if count:
            await page.click("[data-cue]:nth-of-type(1)")
            await page.key("End")
            await page.until("document.querySelector('[data-state=current]')?.dataset.cue.startsWith('0 ')")
        outside = await page.js(f"({DECK}).filter(b => b.left < 0 || b.top < 0 || b.right > innerWidth"
                                " || b.bottom > innerHeight || b.width < 40 || b.height < 40)")
        crossing = await page.js(f"({DECK}).filter((a, i, all) => all.some((b, k) => k > i && a.left < b.right"
                                 " && b.left < a.right && a.top < b.bottom && b.top < a.bottom))")
        whole = await page.js("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        return outside + crossing, whole == [width, height]

    found = asyncio.run(playing(devtools, rig, scenario))
    assert {case: result for case, result in found.items() if result != ([], True)} == {}
    assert len(found) == 21


def test_the_cue_that_plays_is_kept_in_sight(devtools):
    rig = Rig(cues=[Cue(f"look {number}") for number in range(60)])

    async def scenario(page):
        rig.automation.execute(CommandRequest("cue/goto", "osc/127.0.0.1:9", ("look 50",)), rig.now)
        rig.step()
        await page.until("(e => { if (!e) return false;"
                         " const [a, b] = [e, e.closest('ol')].map(e => e.getBoundingClientRect());"
                         " return a.top >= b.top - 1 && a.bottom <= b.bottom + 1 })"
                         "(document.querySelector(\"[data-cue='look 50'][data-state=current]\"))")

    asyncio.run(playing(devtools, rig, scenario))
