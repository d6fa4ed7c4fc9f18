"""The page in a real browser."""

from __future__ import annotations

import asyncio

import numpy as np

from lcm_daemon.core.frame import solid
from lcm_daemon.core.parameters import Parameter
from lcm_daemon.core.requests import Change, CommandRequest
from tests.rigs.browser import SHIFT, tab
from tests.rigs.daemon import free_port
from tests.rigs.page import DRAWERS, control, drawer, field, number, opened, prompt_part
from tests.rigs.panel import SHOWN, Rig, serving, until


def test_there_is_a_named_control_for_every_parameter_in_a_card_or_a_drawer(devtools):
    async def scenario():
        found = {}
        async with opened(devtools, Rig()) as (page, _):
            for place in ("", "More", *DRAWERS):
                if place == "More":
                    await prompt_part(page, place)
                elif place:
                    await drawer(page, place)
                found |= {name: await page.js(
                    "(e => ['aria-labelledby', 'aria-describedby'].map("
                    "key => document.getElementById(e.getAttribute(key)).textContent.trim()))"
                    f"(document.querySelector({control(name)!r}))")
                    for name in await page.js("[...document.querySelectorAll('[data-parameter]')]"
                                              ".map(e => e.dataset.parameter)") if name not in found}
        return found

    found = asyncio.run(scenario())
    assert found.keys() == SHOWN.keys()
    for name, (label, described) in found.items():
        assert label.startswith(name.replace("_", " ").replace("/", " ").capitalize())  # a reason may follow
        assert SHOWN[name].help in described


def test_controls_show_the_values_and_the_ranges(devtools):
    async def scenario():
        async with opened(devtools, Rig()) as (page, _):
            return (
                await page.js(f"(e => [e.ariaValueMin, e.ariaValueNow, e.ariaValueMax, e.tabIndex])"
                              f"(document.querySelector({control('strength')!r}))"),
                await page.js(field("strength")), await page.js(field("prompt", "textarea")),
                await page.js(f"document.querySelector({control('mode', 'input:checked')!r}).value"),
                await page.js(f"document.querySelector({control('freeze')!r}).ariaChecked"),
            )

    assert asyncio.run(scenario()) == (["0", "0.5", "1", 0], "0.500", "ocean", "image", "false")


def test_a_dragged_fader_arrives_at_the_board(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            x, y = await page.place(control("strength"), 0.1)
            await page.mouse("mousePressed", x, y)
            for share in (0.2, 0.5, 0.8):
                await page.mouse("mouseMoved", *await page.place(control("strength"), share))
            await page.mouse("mouseReleased", *await page.place(control("strength"), 0.8))
            await until(lambda: rig.taken and abs(rig.taken[-1].value - 0.8) < 0.01)
            return [c.name for c in rig.taken], [c.value for c in rig.taken], await page.js(number("strength"))

    names, values, shown = asyncio.run(scenario())
    assert set(names) == {"strength"}
    assert values == sorted(values)
    assert shown == values[-1]


def test_a_drag_sends_once_an_animation_frame(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            x, y = await page.place(control("strength"), 0.1)
            await page.mouse("mousePressed", x, y)
            await until(lambda: rig.taken)
            before = len(rig.taken)
            await page.js(f"""(e => {{ for (let n = 0; n < 200; n++) e.dispatchEvent(new PointerEvent('pointermove',
                {{pointerId: 1, pointerType: 'mouse', clientX: {x} + n / 4, clientY: {y}, bubbles: true}})) }})
                (document.querySelector({control("strength")!r}))""")
            await page.until(f"{number('strength')} > 0.2")
            await page.mouse("mouseReleased", x + 50, y)
            await until(lambda: len(rig.taken) > before)
            await page.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            return len(rig.taken) - before

    assert 1 <= asyncio.run(scenario()) <= 3


def test_a_held_control_is_not_moved_by_others_and_catches_up_when_released(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.mouse("mousePressed", *await page.place(control("strength"), 0.3))
            held = await page.until(f"{number('strength')} < 0.35 && {number('strength')}")
            await until(lambda: rig.taken)
            rig.controls.apply_update([Change("strength", 0.9, "osc/x"), Change("mix", 0.5, "osc/x")], None)
            await page.until(f"{number('mix')} === 0.5")
            still = await page.js(number("strength"))
            await page.mouse("mouseReleased", *await page.place(control("strength"), 0.3))
            await page.until(f"{number('strength')} === 0.9")
            return held, still

    held, still = asyncio.run(scenario())
    assert held == still


def test_a_change_on_the_board_moves_the_control(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            for name, value in (("strength", 0.125), ("seed", 4_000_000_000), ("prompt", "lava"), ("mode", "text"),
                                ("freeze", True)):
                rig.move(name, value)
            await page.until(f"{number('strength')} === 0.125 && {number('seed')} === 4000000000")
            await page.until(f"{field('prompt', 'textarea')} === 'lava'")
            await page.until(f"document.querySelector({control('mode', 'input:checked')!r}).value === 'text'")
            await page.until(f"document.querySelector({control('freeze')!r}).ariaChecked === 'true'")

    asyncio.run(scenario())


def test_keys_move_a_fader(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.js(f"document.querySelector({control('strength')!r}).focus()")
            seen = []
            for key, modifiers in (("ArrowRight", 0), ("ArrowLeft", SHIFT), ("PageUp", 0), ("End", 0), ("Home", 0),
                                   ("Delete", 0)):
                before = len(rig.taken)
                await page.key(key, modifiers)
                await until(lambda before=before: len(rig.taken) > before)
                seen.append(rig.taken[-1].value)
            return seen

    assert asyncio.run(scenario()) == [0.51, 0.509, 0.609, 1.0, 0.0, SHOWN["strength"].default]


def test_every_other_control_sets_its_parameter(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.click(control("freeze"))
            await page.click(control("mode", "label:nth-of-type(2)"))
            await page.click(control("seed", "[aria-label='Random seed']"))
            await drawer(page, "Model")
            await page.write(control("steps", "input"), "7")
            await page.key("Enter")
            await page.write(control("guidance", "input"), "99")
            await page.key("Enter")
            await prompt_part(page, "More")
            await page.write(control("negative_prompt"), "grey")
            await page.key("Enter")
            await page.write(control("prompt"), "lava")
            await page.key("Enter")
            await until(lambda: len({c.name for c in rig.taken}) == 7)
            return {c.name: c.value for c in rig.taken}

    moved = asyncio.run(scenario())
    assert 0 <= moved.pop("seed") < 2**32
    assert moved == {"freeze": True, "mode": "text", "steps": 7, "guidance": 20.0, "negative_prompt": "grey",
                     "prompt": "lava"}


def test_minus_one_in_the_field_of_a_seed_asks_for_any(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            for text in ("7", "-1"):
                before = len(rig.taken)
                await page.write(control("seed", "input"), text)
                await page.key("Enter")
                await until(lambda before=before: len(rig.taken) > before)
            return [change.value for change in rig.taken]

    assert asyncio.run(scenario()) == [7, -1]


def test_a_double_click_on_a_name_sets_its_default_and_panic_the_shows_values(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await page.click("#label-strength", times=2)
            await page.until(f"{number('strength')} === {SHOWN['strength'].default}")
            await until(lambda: rig.taken)
            await page.click("[data-command='panic']")
            await page.until(f"{number('strength')} === 0.5")

    asyncio.run(scenario())


def test_recipe_and_size_are_asked_for(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "Model")
            rig.controls.apply_update([], {"recipe": "ink", "size": "512x384"})
            await page.until("document.querySelector('[data-command=size] [aria-label=Height]').value === '384'")
            assert await page.js("document.querySelector('[data-command=recipe] select').value") == "ink"
            await page.js("(e => { e.value = 'sd-turbo'; e.dispatchEvent(new Event('change', {bubbles: true})); })"
                          "(document.querySelector('[data-command=recipe] select'))")
            await page.write("[data-command=size] [aria-label=Width]", "256")
            await page.click("[data-command=size] button")
            await until(lambda: len(rig.called) == 2)
            return rig.called

    assert asyncio.run(scenario()) == [
        CommandRequest("recipe", "panel/1", ("sd-turbo",)), CommandRequest("size", "panel/1", (256, 384)),
    ]


def test_a_recipe_that_fails_to_load_is_not_shown_as_playing(devtools):
    shown = "document.querySelector('[data-command=recipe] select').value"

    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "Model")
            rig.controls.apply_update([], {"recipe": "ink", "change": ""})
            await page.until(f"{shown} === 'ink'")
            await page.js("(e => { e.value = 'sd-turbo'; e.dispatchEvent(new Event('change', {bubbles: true})); })"
                          "(document.querySelector('[data-command=recipe] select'))")
            await until(lambda: rig.called)
            rig.controls.apply_update([], {"recipe": "ink", "change": "loading sd-turbo", "alarm": "odd"})
            await page.until("document.querySelector('[data-alarm]') !== null")
            await page.js("new Promise(done => setTimeout(done, 1200))")
            loading = await page.js(shown)
            rig.controls.apply_update([], {"recipe": "ink", "change": "", "error": "sd-turbo is not on this machine"})
            await page.until(f"{shown} === 'ink'")
            return loading

    assert asyncio.run(scenario()) == "sd-turbo"


def test_what_is_only_being_composed_is_not_sent(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await prompt_part(page, "More")
            await page.click("[data-live-typing]")
            await page.write(control("prompt"), "")
            await until(lambda: rig.taken)  # an empty prompt
            rig.taken.clear()
            for text in ("huo", "huo'yan"):
                await page.call("Input.imeSetComposition", text=text, selectionStart=len(text), selectionEnd=len(text))
            await page.js("new Promise(done => setTimeout(done, 1200))")
            before = [change.value for change in rig.taken]
            await page.call("Input.insertText", text="火焰")
            await until(lambda: rig.taken and rig.taken[-1].value == "火焰")
            return before

    assert asyncio.run(scenario()) == []


def test_controls_come_and_go_with_the_recipe(devtools):
    async def scenario():
        rig = Rig()
        row = "document.querySelector(\"[data-parameter='lora/ink']\")"
        fader = "document.querySelector(\"[data-parameter='lora/ink'] [role=slider]\")"
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "LoRA")
            rig.change_recipe(Parameter("lora/ink", "float", 0.5, "How much ink.", -2.0, 2.0, group="LoRA"))
            await page.until(f"{fader}?.ariaValueNow === '0.5'")
            rig.move("lora/ink", 1.25)
            await page.until(f"{fader}.ariaValueNow === '1.25'")
            rig.change_recipe()
            await page.until(f"{row} === null")

    asyncio.run(scenario())


def test_the_canvas_shows_the_picture(devtools):
    quarters = solid((64, 32), (220, 30, 30, 255))
    quarters[:16, 32:] = (30, 200, 40, 255)
    quarters[16:, :32] = (40, 60, 220, 255)
    quarters[16:, 32:] = (240, 240, 240, 255)

    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            rig.show(solid((64, 32)))
            await page.until("document.querySelector('canvas').width === 64")
            rig.show(quarters)
            pixel = "[...document.querySelector('canvas').getContext('2d').getImageData({}, {}, 1, 1).data]"
            await page.until(f"{pixel.format(8, 8)}[0] > 150")
            return [await page.js(pixel.format(x, y)) for y in (8, 24) for x in (16, 48)]

    seen = np.array(asyncio.run(scenario()))
    assert np.abs(seen - quarters[[8, 8, 24, 24], [16, 48, 16, 48]]).max() < 12


def test_status_and_alarm_are_shown(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "System")
            rig.controls.apply_update([], {"fps": 12.34, "latency": 41.0, "alarm": "out of memory", "odd": 3})
            await page.until("document.querySelector('header [data-status=fps]')?.innerText === '12.3'")
            return (await page.js("document.querySelector('header [data-status=latency]').innerText"),
                    await page.js("[...document.querySelectorAll('[data-status=odd]')].some(e => e.checkVisibility())"),
                    await page.js("document.body.innerText.includes('out of memory')"))

    assert asyncio.run(scenario()) == ("41 ms", True, True)


def test_the_page_says_that_it_is_offline_and_comes_back_by_itself(devtools):
    async def scenario():
        async with tab(devtools) as page:
            async with serving(Rig(), port=free_port()) as panel:  # no other program gets it while the panel is off
                await page.open(panel.address)
            await page.until("document.querySelector('[data-link=offline]') && document.querySelector('main').inert")
            again = Rig()
            again.move("strength", 0.75)
            async with serving(again, port=panel.port):
                await page.until("document.querySelector('[data-link=online]') !== null")
                await page.until(f"{number('strength')} === 0.75")
                await page.click(control("freeze"))
                await until(lambda: again.taken)

    asyncio.run(scenario())


def test_the_page_asks_nobody_but_the_daemon(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, panel):
            rig.show()
            await page.until("document.querySelector('canvas').width === 32")
            return panel.port, page.requests

    port, requests = asyncio.run(scenario())
    assert len(requests) >= 4
    own = (f"http://127.0.0.1:{port}/", f"ws://127.0.0.1:{port}/", "data:")
    assert [r for r in requests if not r.startswith(own)] == []


def test_a_phone_in_portrait_scrolls_the_controls_alone_and_past_the_faders(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig, width=390, height=844, touch=True) as (page, _):
            rig.show(solid((512, 512)))
            await page.until("document.querySelector('canvas').width === 512")
            fits = await page.js("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
            x, y = await page.place(control("strength"))
            await page.touch("touchStart", (x, y))
            for n in range(1, 8):
                await page.touch("touchMove", (x + n / 4, y - 12 * n))
            await page.touch("touchEnd")
            scrolled = await page.until(f"{y} - document.querySelector({control('strength')!r})"
                                        ".getBoundingClientRect().y > 20")
            after_scroll = len(rig.taken)
            x, y = await page.place(control("strength"), 0.4)
            await page.touch("touchStart", (x, y))
            for n in range(1, 8):
                await page.touch("touchMove", (x + 6 * n, y))
            await page.touch("touchEnd")
            await until(lambda: rig.taken)
            return fits, scrolled, after_scroll, rig.taken[-1]

    fits, scrolled, after_scroll, moved = asyncio.run(scenario())
    assert fits == [390, 844]
    assert scrolled
    assert after_scroll == 0
    assert (moved.name, moved.value > 0.5) == ("strength", True)
