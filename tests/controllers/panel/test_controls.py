"""The page's controls and drawers in a real browser."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from lcm_daemon.automation.modulation import Modulator
from lcm_daemon.automation.modulator_bank import WAVE_ROWS
from lcm_daemon.core.audio_names import BANDS
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.desk.refusal_log import RefusalLog
from lcm_daemon.recipes.parts import ControlNet, Lora, table_of_parts
from tests.rigs.browser import SHIFT, Tab, tab
from tests.rigs.page import control, drawer, field, number, opened
from tests.rigs.panel import Rig, until

pytestmark = pytest.mark.slow

MODULATOR = Modulator("slow", "strength", "sine", 0.5, beats=4.0)
LONG = ("a_long_name_of_a_lora_for_day", "a_long_name_of_a_lora_for_night")
PARTS = table_of_parts([Lora("file", 0.5, name) for name in LONG], [ControlNet("edges", "model")], ())


def row(name: str, part: str = "") -> str:
    return f'[data-parameter="{name}"] {part}'


def idle(name: str) -> str:
    """JavaScript expression for the reason that a control shows why it has no effect; "" if it shows none."""
    return f"document.querySelector({row(name)!r}).dataset.idle ?? ''"


async def wheel(page: Tab, selector: str, distance: float, modifiers: int = 0) -> None:
    x, y = await page.place(selector)
    await page.js("new Promise(done => setTimeout(done, 450))")  # the scrolling that `place` does has ended
    await page.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=distance,
                    modifiers=modifiers)


async def write(page: Tab, name: str, text: str) -> None:
    await page.write(row(name, "input"), text)
    await page.key("Enter")


def test_faders_wheel_double_click_and_arithmetic(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            value = rig.parameters.targets
            for text, there in (("0,25", 0.25), ("+=0.5", 0.75), ("-=0.05", 0.7), ("*=0.5", 0.35), ("/=0.7", 0.5),
                                ("40%", 0.4), ("nonsense", 0.4), ("+=", 0.4), ("*=9", 1.0), ("0.3", 0.3)):
                await write(page, "strength", text)
                await page.until(f"{field('strength')} === '{there:.3f}'")
                await until(lambda there=there: value()["strength"] == there)
            await wheel(page, control("strength"), -200.0)
            await until(lambda: value()["strength"] == 0.32)
            await wheel(page, control("strength"), 100.0, SHIFT)
            await until(lambda: value()["strength"] == 0.319)
            await page.click(control("strength"), times=2)
            await until(lambda: value()["strength"] == 0.6)  # the first of both set it to 0.5
            assert await page.js(number("strength")) == 0.6
            await page.js(f"document.querySelector({control('strength')!r}).focus()")
            for key, modifiers in (("ArrowUp", 0), ("ArrowUp", SHIFT)):
                await page.key(key, modifiers)
            await until(lambda: value()["strength"] == 0.611)
    asyncio.run(scenario())


def test_glides_are_logarithmic_and_reach_zero(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "Model")
            name, seen = "seed_glide", []
            x, y = await page.place(control(name), 0.5)
            width = 2 * (x - (await page.place(control(name), 0.0))[0])
            await page.mouse("mousePressed", x, y)
            for share in (0.75, 0.25, 0.0):
                await page.mouse("mouseMoved", x + (share - 0.5) * width, y)
                await page.until(f"{number(name)} !== {seen[-1] if seen else -1}")
                seen.append(await page.js(number(name)))
            await page.mouse("mouseReleased", x, y)
            assert seen[0] == pytest.approx(106.2, rel=0.1), "three quarters of the way to 600 s"
            assert seen[1] == pytest.approx(2.78, rel=0.1), "a quarter of the way"
            assert seen[2] == 0.0
            await until(lambda: rig.parameters.targets()[name] == 0.0)
    asyncio.run(scenario())


def test_a_control_without_effect_is_dimmed_and_says_why(devtools: str) -> None:
    async def scenario() -> None:
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await drawer(page, "Model")
            assert await page.js(idle("noise_speed")) == "noise is fixed"
            assert "noise is fixed" in await page.js(f"document.querySelector({row('noise_speed')!r}).innerText")
            rig.move("noise", "walking")
            await page.until(f"{idle('noise_speed')} === ''")
            assert await page.js(idle("similarity_skip")) == "the noise walks"
            rig.move("mode", "text")
            await page.until(f"{idle('strength')} === 'mode is not image'")
            described = await page.js("document.getElementById('help-strength').textContent")
            assert "No effect while mode is not image." in described
            rig.change_recipe(*PARTS.values())
            await drawer(page, "ControlNet")
            await page.until(f"{idle('control/edges/weight')} === 'mode is text'")
            rig.move("mode", "image")
            await page.until(f"{idle('control/edges/weight')} === ''")
            await write(page, "control/edges/weight", "0")
            await page.until(f"{idle('control/edges/start')} === 'control/edges/weight is 0'")
            await write(page, "control/edges/end", "-=0.25")
            await until(lambda: rig.parameters.targets()["control/edges/end"] == 0.75)

            await drawer(page, "LoRA")
            labels = "[...document.querySelectorAll('[data-drawer=LoRA] [data-label]')]"
            assert await page.js(f"{labels}.map(e => e.textContent)") == list(LONG)
            assert await page.js(f"{labels}.every(e => e.parentElement.scrollWidth <= e.parentElement.clientWidth)")
    asyncio.run(scenario())


def test_modulators_are_drawn_added_changed_and_removed(devtools: str) -> None:
    async def scenario() -> list[CommandRequest]:
        rig = Rig()
        rig.change_recipe(*MODULATOR.parameters())
        async with opened(devtools, rig) as (page, _):
            rig.controls.set_list("waves", WAVE_ROWS)
            rig.controls.set_list("modulators", (asdict(MODULATOR),))
            await drawer(page, "Modulation")
            await page.until("document.querySelector('[data-modulator=slow] polyline')?.points.length > 50")
            assert await page.js(idle("mod/slow/rate")) == "slow follows the beat"
            heights = ("(p => Math.max(...p.map(e => e.y)) - Math.min(...p.map(e => e.y)))"
                       "([...document.querySelector('[data-modulator=slow] polyline').points])")
            assert await page.js(heights) == pytest.approx(14.0, abs=0.5), "half of the height: the depth is 0.5"
            for part, text in ("select[aria-label^=Wave]", "saw"), ("input[aria-label^=Beats]", "2"):
                await page.js(f"(e => {{ e.value = '{text}'; e.dispatchEvent(new Event('change', {{bubbles: 1}})) }})"
                              f"(document.querySelector('[data-modulator=slow] {part}'))")
            await page.write("[data-modulator-form] input", "fast")
            await page.click("[data-modulator-form] button")
            await page.click("[data-remove=slow]")
            await until(lambda: len(rig.called) == 4)
        return rig.called

    arguments = [(call.name, *call.arguments) for call in asyncio.run(scenario())]
    assert arguments == [
        ("modulator/add", "slow", "strength", "saw", 0.5, 0.5, 4.0),
        ("modulator/add", "slow", "strength", "sine", 0.5, 0.5, 2.0),
        ("modulator/add", "fast", "strength", "sine"), ("modulator/remove", "slow")]


def test_the_meter_shows_the_audio_input_and_its_bands_are_chosen(devtools: str) -> None:
    async def scenario() -> list[CommandRequest]:
        rig = Rig()
        bass = Modulator("bass", "strength", "audio", 0.5, band="low")
        rig.change_recipe(*bass.parameters())
        async with opened(devtools, rig) as (page, _):
            rig.controls.set_list("waves", WAVE_ROWS)
            rig.controls.set_list("modulators", (asdict(bass),))
            await drawer(page, "Modulation")
            await page.until("!!document.querySelector('[data-modulator=bass]')")
            assert not await page.js("!!document.querySelector('[data-meter]')"), "the show has no audio input"
            rig.controls.set_list("audio", tuple({"name": band, "level": 0.25} for band in BANDS))
            await page.until("document.querySelectorAll('[data-meter] [data-level]').length === 5")
            width = "document.querySelector('[data-level=low] div').getBoundingClientRect().width"
            whole = "document.querySelector('[data-level=low]').getBoundingClientRect().width"
            assert await page.js(f"{width} / {whole}") == pytest.approx(0.25, abs=0.01)
            assert not await page.js("!!document.querySelector('[data-modulator=bass] input[aria-label^=Beats]')")
            await page.js("(e => { e.value = 'onset'; e.dispatchEvent(new Event('change', {bubbles: 1})) })"
                          "(document.querySelector('[data-modulator=bass] select[aria-label^=Band]'))")
            await until(lambda: len(rig.called) == 1)
        return rig.called

    (call,) = asyncio.run(scenario())
    assert (call.name, *call.arguments) == (
        "modulator/add", "bass", "strength", "audio", 0.5, 0.5, 0.0, 0.0, "onset")


def test_refusals_reach_every_page_and_its_log(devtools: str) -> None:
    """An impossible size of this page, and a wrong message of another controller."""
    async def scenario() -> dict[str, Any]:
        rig = Rig()
        async with opened(devtools, rig) as (page, panel), tab(devtools) as other:
            RefusalLog(rig.controls, asyncio.get_running_loop().call_later, lambda: "21:30:05")
            await other.open(panel.address)
            line = "document.querySelector('[data-error]')?.innerText"
            await drawer(page, "Model")
            await page.write("[data-drawer=Model] [data-command=size] input", "500")
            await page.key("Enter")
            await other.until(f"{line}?.startsWith('page: size: width may be 64 to 2048 px in steps of 8, not 500')")
            await page.until(f"{line}?.includes('nearest possible is 504 x ')")
            for _ in range(3):
                rig.controls.set("steps", "many", "osc/192.168.1.7:52311")
            await other.until(f"{line} === \"osc 192.168.1.7: steps takes a number, not 'many' (3 times)\"")
            rig.controls.apply_update([], {"source": "ndi CAM 1: no sender of this name", "tempo": "link", "fps": 30.0})
            await other.click("[data-log]")
            await other.until("document.querySelector('[data-log-panel]').open")
            found = {"log": await other.js("[...document.querySelectorAll('[data-refusal]')].map(e => e.innerText)"),
                     "now": await other.js("document.querySelector('[data-log-panel] dd').innerText")}
            await drawer(page, "Tempo")
            found["tempo"] = await page.js("document.querySelector('[data-tempo-source]').innerText")
            await drawer(page, "System")
            found["status"] = await page.js("document.querySelector('[data-drawer=System] dl').innerText")
            await page.click("[data-drawer=System] [data-command='engine/restart']")
            await drawer(page, "Model")
            await page.click("[data-size='384x384']")
            await until(lambda: CommandRequest("size", "panel/1", (384, 384)) in rig.called)
            assert CommandRequest("engine/restart", "panel/1") in rig.called
            assert other.troubles == []
        return found

    found = asyncio.run(scenario())
    newest, older = ("".join(text.split()) for text in found["log"])
    assert newest == "21:30:05osc192.168.1.7stepstakesanumber,not'many'×3"
    assert older.startswith("21:30:05pagesize:widthmaybe")
    assert found["now"] == "ndi CAM 1: no sender of this name"
    assert found["tempo"] == "Ableton Link"
    assert "Rendered frames a second." in found["status"]
