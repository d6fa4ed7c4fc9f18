"""The prompt card and undo, in a real browser."""

from __future__ import annotations

import asyncio
from typing import Any

from lcm_daemon.core.parameters import Parameter
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.words import words_of
from tests.rigs.browser import SHIFT, Tab, tab
from tests.rigs.page import control, field, number, opened, prompt_part
from tests.rigs.panel import Rig, serving, until

CTRL = 2  # the DevTools protocol's bit
A, B = field("prompt", "textarea"), field("prompt_b", "textarea")
STATE = f"document.querySelector({control('prompt', '[data-draft]')!r}).dataset.draft"
NO_FOCUS = "document.activeElement.blur()"


def text(selector: str) -> str:
    """JavaScript expression for what an element shows; null without one."""
    return f"(document.querySelector({selector!r})?.innerText ?? null)"


async def type_into(page: Tab, name: str, letters: str) -> None:
    """Focus a field, select its text and press keys."""
    await page.js(f"(e => {{ e.focus(); e.select() }})(document.querySelector({control(name)!r}))")
    for letter in letters:
        await page.key(letter)


def favourite(number: int) -> str:
    return f"[data-favourite='{number}']"


def sent(rig: Rig) -> list[tuple[str, Any]]:
    return [(change.name, change.value) for change in rig.taken]


def test_enter_sends_escape_restores_and_typing_alone_does_neither(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        async with serving(rig) as panel, tab(devtools) as page, tab(devtools) as other:
            await page.open(panel.address)
            await other.open(panel.address)
            await type_into(page, "prompt", "neon 1 grid")  # 1 is a key of the page, too
            await type_into(other, "prompt", "mine")
            assert (await page.js(STATE), sent(rig), rig.called) == ("unsent", [], [])
            rig.move("prompt", "from afar")
            await page.until(f"{text(control('prompt', '[data-overtaken]'))} === 'now: from afar'")
            assert await page.js(A) == "neon 1 grid"
            await page.key("Enter")
            await until(lambda: rig.taken)
            assert sent(rig) == [("prompt", "neon 1 grid")]
            await page.until(f"{STATE} === 'sent'")
            await other.until(f"{text(control('prompt', '[data-overtaken]'))} === 'now: neon 1 grid'")
            assert await other.js(A) == "mine"
            await other.key("Escape")
            await other.until(f"{A} === 'neon 1 grid' && {STATE} === 'sent'")

            # What is typed outlives everything else that is done, and weights stay what they are.
            await type_into(page, "prompt_b", "ocean::0.7 lava::0.3")
            await page.js(NO_FOCUS)
            await page.click(control("freeze"))
            await until(lambda: len(rig.taken) == 2)
            assert await page.js(B) == "ocean::0.7 lava::0.3"
            await page.click(control("prompt_b", "[data-send]"))
            await until(lambda: len(rig.taken) == 3)
            await page.click("[aria-label='Prompt B alone']")
            await until(lambda: len(rig.taken) == 4)
            assert sent(rig)[2:] == [("prompt_b", "ocean::0.7 lava::0.3"), ("blend", 1)]
            assert page.troubles == other.troubles == []

    asyncio.run(scenario())


def test_live_typing_sends_while_others_send_and_is_kept_in_the_browser(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        async with opened(devtools, rig) as (page, panel):
            await prompt_part(page, "More")
            await page.click("[data-live-typing]")
            await page.open(panel.address)
            await type_into(page, "prompt", "la")
            await until(lambda: ("prompt", "la") in sent(rig))
            for step in range(20):  # a ramp, and another prompt
                rig.move("strength", step / 20)
            rig.move("prompt", "other")
            await page.until(f"{STATE} === 'unsent'")
            assert await page.js(A) == "la"
            for letter in "va ":
                await page.key(letter)
            await until(lambda: ("prompt", "lava") in sent(rig))
            assert await page.js(A) == "lava ", "the space that is being typed stays"
            await page.js(NO_FOCUS)
            await page.until(f"{A} === 'lava'")
            await prompt_part(page, "More")
            await page.click("[data-live-typing]")

    asyncio.run(scenario())


def test_favourites_history_and_words(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.controls.set_list("words", next(iter(words_of([load_recipe("builtin")]).values())))
        async with opened(devtools, rig) as (page, _):
            # Words: chips go to the cursor of the field that was used last; what the model ignores is named.
            await prompt_part(page, "Words")
            await type_into(page, "prompt", "(dragon:1.3) Castle::0.4 a synthwave")
            assert await page.js(text(control("prompt", "[data-unknown]"))) == "ignored: dragon, castle"
            await page.js(f"document.querySelector({control('prompt')!r}).setSelectionRange(0, 12)")
            await page.click("[data-word=blue]")
            assert await page.js(A) == "blue (dragon:1.3) Castle::0.4 a synthwave"
            await page.key("Escape")
            await page.click("[data-word='neon grid']")
            assert await page.js(A) == "ocean neon grid"
            assert await page.js(text(control("prompt", "[data-unknown]"))) is None
            rig.controls.set_list("words", ())
            await page.until("document.querySelector('[data-word]') === null")
            await type_into(page, "prompt", "dragon")
            assert await page.js(text(control("prompt", "[data-unknown]"))) is None
            await page.key("Enter")

            # Favourites: stored, replaced, played by keys that do not disturb typing, cleared.
            await prompt_part(page, "Favourites")
            await page.click("[data-arm=store]")
            await page.click(favourite(2))
            await page.until(f"{text(favourite(2))}.includes('dragon')")
            await page.write(control("prompt"), "unsent lava")
            await page.js(NO_FOCUS)
            await page.click("[data-arm=store]")
            await page.key("1")
            await page.until(f"{text(favourite(1))}.includes('unsent lava')")
            await page.key("2")
            await until(lambda: rig.called[-1].name == "prompts/play")
            await page.js(f"document.querySelector({control('prompt')!r}).focus()")
            await page.key("Escape")
            await page.key("1")
            await page.until(f"{A} === 'unsent lava'")
            await page.key("9")  # an empty place
            await page.click("[data-arm=clear]")
            await page.key("2")
            await page.until(f"document.querySelector({favourite(2)!r}).disabled")
            assert [(call.name, *call.arguments) for call in rig.called] == [
                ("prompts/store", 2, "dragon"), ("prompts/store", 1, "unsent lava"), ("prompts/play", 2),
                ("prompts/play", 1), ("prompts/clear", 2)]

            # History: newest first, from everybody; sent again to A or B, or kept.
            rig.now += 5.0
            rig.move("prompt_b", "stars", "midi/nanoKONTROL/1")
            await prompt_part(page, "History")
            rows = "[...document.querySelectorAll('[data-history] li')].map(e => e.innerText.split('\\n')[0])"
            await page.until(f"JSON.stringify({rows}) === '[\"stars\",\"unsent lava\",\"dragon\"]'")
            await page.click("[aria-label='Send to B: unsent lava']")
            await page.until(f"{B} === 'unsent lava'")
            await page.click("[data-history] li:nth-child(3) button")
            await page.until(f"{A} === 'dragon'")
            await page.click("[aria-label='Add to the favourites: stars']")
            await until(lambda: rig.bank.rows()[-1] == {"number": 2, "text": "stars"})

            # The negative prompt says why it has no effect.
            await prompt_part(page, "More")
            assert await page.js(text("[data-idle]")) == "no effect: guidance is 1 or lower"
            rig.move("guidance", 2.0)
            await page.until("document.querySelector('[data-idle]') === null")

    asyncio.run(scenario())


def test_undo_on_the_page(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        strength, undo = number("strength"), "[data-command=undo]"
        async with serving(rig) as panel, tab(devtools) as page, tab(devtools) as other:
            rig.move("strength", 0.9)
            await page.open(panel.address)
            await other.open(panel.address)
            x, y = await page.place(control("strength"), 0.2)
            await page.mouse("mousePressed", x, y)
            for share in (0.3, 0.5, 0.7):
                await page.mouse("mouseMoved", *await page.place(control("strength"), share))
            await page.mouse("mouseReleased", x, y)
            await page.until("document.querySelector('[data-command=undo]').title === 'Undo: strength (page) (Ctrl Z)'")
            await page.key("z", CTRL)
            await page.until(f"{strength} === 0.9")
            await page.key("z", CTRL | SHIFT)
            await page.until(f"Math.abs({strength} - 0.7) < 0.02")
            await page.key("y", CTRL)  # nothing more to repeat: the page says so
            await page.until("document.querySelector('[data-error]')?.innerText.includes('nothing has been undone')"
                             " || document.body.innerText.includes('nothing has been undone')")
            await page.click(undo)
            await page.until(f"{strength} === 0.9")

            # While a text is typed, the browser's own undo acts.
            await type_into(page, "prompt", "x")
            calls = len(rig.called)
            await page.key("z", CTRL)
            await page.js("new Promise(done => setTimeout(done, 100))")
            assert len(rig.called) == calls
            await page.key("Escape")

            # A panic, by whom ever, is offered for undo on every page for ten seconds.
            await other.click("[data-command=panic]")
            await page.until("document.querySelector('[data-command=undo_panic]') !== null")
            await page.until(f"{strength} === 0.5")
            rig.move("mix", 0.25)
            await page.click("[data-command=undo_panic]")
            await page.until(f"{strength} === 0.9 && {number('mix')} === 0.25")
            await other.until("document.querySelector('[data-command=undo_panic]') === null")
            assert [call.name for call in rig.called][-2:] == ["panic", "undo_panic"]

            # What a recipe took along cannot be undone: the page says why.
            rig.change_recipe(Parameter("lora/ink", "float", 0.0, "A LoRA.", 0.0, 2.0))
            rig.undo.observe(rig.now)
            rig.move("lora/ink", 1.0)
            rig.change_recipe()
            await page.key("z", CTRL)
            await page.until("document.body.innerText.includes('lora/ink does not exist now')")
            assert page.troubles == other.troubles == []

    asyncio.run(scenario())
