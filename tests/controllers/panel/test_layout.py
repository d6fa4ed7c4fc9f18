"""Where the parts of the page are in windows of several sizes, and whether they can be read."""

from __future__ import annotations

import asyncio
import io
import json
import re

from PIL import Image

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.controllers.panel.assets import PAGE
from lcm_daemon.core.frame import Frame, solid
from tests.rigs.browser import Tab
from tests.rigs.page import DRAWERS, drawer, opened, phone_tab
from tests.rigs.panel import SHOWN, Rig, get, serving

CUES = [Cue(f"look {number}", {"strength": 0.4}) for number in range(1, 13)]
WIDE = ((1280, 800), (1024, 768), (1440, 900))
UPRIGHT = ((834, 1112), (768, 1024))
SIZES = (*((*size, False) for size in WIDE), *((*size, True) for size in UPRIGHT), (1024, 768, True), (1180, 820, True))
PHONES = ((390, 844), (360, 740), (844, 390))
WHOLE = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
TABS = ("Looks", "Prompt", "Faders", "Picture")

CUT = """(selector => [...document.querySelectorAll(selector)].flatMap(part => {
    const seen = e => { const {left, top, right, bottom} = e.getBoundingClientRect();
        return left >= -0.5 && top >= -0.5 && right <= innerWidth + 0.5 && bottom <= innerHeight + 0.5 };
    const controls = [...part.querySelectorAll('button, input, textarea, select, [role=slider]')]
        .filter(e => e.checkVisibility({visibilityProperty: true}) && e.clientWidth > 1)
        .filter(e => !e.closest('.overflow-x-auto, #prompt-part'));
    const covered = e => { const {left, top, width, height} = e.getBoundingClientRect();
        const found = document.elementFromPoint(left + width / 2, top + height / 2);
        return !found || !(e.contains(found) || found.contains(e) || part.contains(found)) };
    return [part, ...controls].filter(e => !seen(e) || (e !== part && covered(e)))
        .map(e => `${e.tagName} ${e.dataset.card ?? e.ariaLabel ?? e.title ?? e.innerText}`)
}))"""
COVERED = """(() => {
    const [a, b] = ['[data-picture]', '#drawer'].map(s => document.querySelector(s).getBoundingClientRect());
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom ? ['covered'] : [] })()"""
BOX = """(selector => { const {left, top, width, height} = document.querySelector(selector).getBoundingClientRect();
    return {left, top, width, height} })"""
REACHED = """[...document.querySelectorAll('[data-parameter]')].filter(e => e.checkVisibility())
    .map(e => e.dataset.parameter)"""

# Every text on the page with less contrast than WCAG AA asks for, but for what is disabled.
PALE = """(() => {
    const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => { context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255] };
    const over = (top, under) => under.map((u, i) => i === 3 ? 1 : top[i] * top[3] + u * (1 - top[3]));
    const ground = e => { if (!e) return [0, 0, 0, 1];
        const own = rgba(getComputedStyle(e).backgroundColor);
        return own[3] === 1 ? own : over(own, ground(e.parentElement)) };
    const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = c => { const [r, g, b] = c.map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b };
    const UNSEEN = 'script, noscript, [inert], :disabled, .sr-only';
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Set();
    for (let node; (node = texts.nextNode());) {
        const e = node.parentElement;
        if (!node.textContent.trim() || !e.checkVisibility() || e.closest(UNSEEN)) continue;
        const under = ground(e), style = getComputedStyle(e), colour = over(rgba(style.color), under);
        const [a, b] = [light(colour), light(under)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) found.add(`${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return [...found] })()"""

# Every control and picture without a name for screen readers.
NAMELESS = """[...document.querySelectorAll('button, a[href], input, textarea, select, canvas, img, [role=slider],'
    + '[role=switch], [role=separator], dialog, section, nav')].filter(e => e.checkVisibility() && e.type !== 'hidden')
    .filter(e => { const ids = (e.getAttribute('aria-labelledby') ?? '').split(' ');
        const by = ids.map(id => document.getElementById(id));
        return !(e.ariaLabel || by.some(b => b?.textContent.trim()) || e.labels?.[0]?.textContent.trim()
            || e.title || e.alt || (e.matches('button, a') && e.textContent.trim())) })
    .map(e => e.outerHTML.slice(0, 120))"""


async def ready(rig: Rig, page: Tab) -> None:
    rig.show(solid((512, 512), (90, 60, 160, 255)))
    await page.until("document.querySelector('[data-canvas=output]').width === 512")


def test_cards_looks_and_picture_are_whole_and_in_sight(devtools):
    """Prompt, Play, Master and the looks at once. The picture has half of 1280x800, or a tablet's whole width."""
    async def scenario():
        rig, cut, boxes = Rig(cues=CUES), {}, {}
        rig.step()
        async with opened(devtools, rig) as (page, _):
            await ready(rig, page)
            for width, height, touch in SIZES:
                await page.resize(width, height, touch=touch)
                cut[width, height] = await page.js(CUT + "('[data-card], [data-deck], [data-picture], header')")
                boxes[width, height] = await page.js(f"{BOX}('[data-picture]')")
                assert await page.js(WHOLE) == [width, height]
        return cut, boxes

    cut, boxes = asyncio.run(scenario())
    assert {size: parts for size, parts in cut.items() if parts} == {}
    shares = {size: box["width"] * box["height"] / (size[0] * size[1]) for size, box in boxes.items()}
    assert shares[1280, 800] >= 0.5
    assert {size: boxes[size]["width"] for size in UPRIGHT} == {size: size[0] for size in UPRIGHT}
    assert all(boxes[size]["top"] < 60 for size in UPRIGHT)
    assert min(shares.values()) > 0.3


def test_a_drawer_leaves_the_picture_and_the_master_in_sight(devtools):
    async def scenario():
        rig, found = Rig(cues=CUES), []
        rig.step()
        async with opened(devtools, rig) as (page, _):
            await ready(rig, page)
            for width, height in (*WIDE, *UPRIGHT):
                await page.resize(width, height, touch=width < 1000)
                await drawer(page, "Model")
                found += await page.js(CUT + "('[data-picture], [data-card=Master]')")
                found += await page.js(COVERED)
        return found

    assert asyncio.run(scenario()) == []


def test_a_phone_reaches_everything_in_two_taps_and_always_has_master_and_panic(devtools):
    async def scenario():
        rig, missing, cut = Rig(cues=CUES), {}, {}
        rig.step()
        async with opened(devtools, rig, width=390, height=844, touch=True) as (page, _):
            await ready(rig, page)
            for width, height in PHONES:
                await page.resize(width, height, touch=True)
                reached = set()
                for name in TABS:
                    await phone_tab(page, name)
                    reached |= set(await page.js(REACHED))
                    if name == "Prompt":
                        await page.js("[...document.querySelectorAll('[data-prompt-part=More]')]"
                                      ".find(e => e.checkVisibility()).click()")
                        reached |= set(await page.js(REACHED))
                    cut[width, height, name] = await page.js(
                        CUT + "('[data-card=Master], .frame-tabs, header > :first-child')")
                await phone_tab(page, "Faders")
                for name in DRAWERS:
                    await drawer(page, name)
                    reached |= set(await page.js(REACHED))
                await page.js("document.querySelector('[data-drawer-tab][aria-expanded=true]').click()")
                missing[width, height] = SHOWN.keys() - reached
                assert await page.js(WHOLE) == [width, height]
        return missing, cut

    missing, cut = asyncio.run(scenario())
    assert {size: names for size, names in missing.items() if names} == {}
    assert {place: parts for place, parts in cut.items() if parts} == {}


def test_every_text_has_contrast_and_every_control_a_name(devtools):
    async def scenario():
        rig, pale, nameless = Rig(cues=CUES), set(), set()
        rig.controls.apply_update([], {"fps": 24.0, "alarm": "out of memory", "no_input": True, "loaded": 40})
        rig.step()
        async with opened(devtools, rig) as (page, _):
            await ready(rig, page)
            for name in ("", *DRAWERS):
                if name:
                    await drawer(page, name)
                pale |= set(await page.js(PALE))
                nameless |= set(await page.js(NAMELESS))
        return pale, nameless

    assert asyncio.run(scenario()) == (set(), set())


def test_the_tokens_of_the_page_have_the_contrast_of_wcag_aa():
    """Each colour that text may have, on each ground that it may be on."""
    source = (PAGE.parent / "ui" / "src" / "panel.css").read_text(encoding="utf-8")
    tokens = dict(re.findall(r"--color-([a-z-]+): (#[0-9a-f]{6});", source)) | {"white": "#ffffff"}
    pairs = [(text, ground) for text in ("ink", "soft", "faint", "amber", "good", "alarm-pale")
             for ground in ("floor", "base", "raised", "well")]
    pairs += [("floor", "amber"), ("white", "amber-deep"), ("ink", "amber-dark"), ("white", "alarm-deep"),
              ("white", "alarm-hover"), ("alarm-pale", "alarm-dark"), ("ink", "line")]
    pale = {pair: ratio for pair in pairs if (ratio := _contrast(*(tokens[name] for name in pair))) < 4.5}
    assert pale == {}
    assert _contrast(tokens["amber"], tokens["well"]) >= 3.0, "a fader's handle"
    assert _contrast(tokens["alarm"], tokens["base"]) >= 3.0, "a lamp"


def _contrast(one: str, two: str) -> float:
    """The contrast ratio of two colours, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    def luminance(colour: str) -> float:
        channels = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(two)))
    return round((high + 0.05) / (low + 0.05), 2)


def test_the_input_is_shown_in_a_corner_beside_the_output_and_swapped(devtools):
    width = "document.querySelector('[data-canvas={}]').getBoundingClientRect().width"

    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await ready(rig, page)
            await page.until("document.querySelector('[data-tool=input]') !== null")
            rig.controls.input = Frame(solid((512, 512), (20, 160, 20, 255)), 1, 1.0)
            await page.until("document.querySelector('[data-canvas=input]').width === 512")
            sizes = [[await page.js(width.format(name)) for name in ("output", "input")]]
            await page.key("x")
            sizes.append([await page.js(width.format(name)) for name in ("output", "input")])
            await page.key("x")
            await page.click("[data-tool=input]")
            await page.js("document.querySelector('[data-divider]').focus()")
            await page.key("ArrowLeft")
            sizes.append([await page.js(width.format(name)) for name in ("output", "input")])
            await page.mouse("mousePressed", *await page.place("[data-divider]"))
            await page.mouse("mouseMoved", *await page.place("[data-picture]", 0.7))
            await page.mouse("mouseReleased", *await page.place("[data-picture]", 0.7))
            sizes.append([await page.js(width.format(name)) for name in ("output", "input")])
            await page.click("[data-tool=input]")
            asks = rig.controls.metrics.total("panel/pictures")
            rig.controls.input = Frame(solid((512, 512)), 2, 2.0)
            await page.js("new Promise(done => setTimeout(done, 300))")
            return sizes, rig.controls.metrics.total("panel/pictures") - asks, await page.js(width.format("input"))

    (corner, swapped, beside, dragged), extra, hidden = asyncio.run(scenario())
    assert corner[1] < 0.4 * corner[0]
    assert swapped[0] < 0.4 * swapped[1]
    assert abs(beside[1] / sum(beside) - 0.45) < 0.02
    assert abs(dragged[1] / sum(dragged) - 0.7) < 0.02
    assert (extra <= 1, hidden) == (True, 0)


def test_badges_say_what_the_picture_is(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await ready(rig, page)
            for name, value in (("freeze", True), ("blackout", True), ("master", 0.0), ("mix", 0.0)):
                rig.move(name, value)
            rig.controls.apply_update([], {"alarm": "no card", "no_input": True, "failsafe": True, "loaded": 100})
            await page.until("document.querySelector('[data-badge=FAILSAFE]') !== null")
            badges = await page.js("[...document.querySelectorAll('[data-badge]')].map(e => e.dataset.badge)")
            rig.controls.apply_update([], {"loaded": 35, "failsafe": True})
            await page.until("document.querySelector('[data-badge=\"LOADING 35 %\"]') !== null")
            return badges, await page.js("document.querySelector('[data-badge=FAILSAFE]')")

    badges, failsafe = asyncio.run(scenario())
    assert badges == ["ALARM", "BLACKOUT", "MASTER 0", "FROZEN", "MIX 0", "NO INPUT", "FAILSAFE"]
    assert failsafe is None  # loading for the first time does not count as a failure


def test_the_page_waits_for_the_first_frame_and_offers_full_screen_only_where_it_can(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, panel):
            waiting = await page.js("document.querySelector('[data-waiting]').innerText")
            await ready(rig, page)
            gone = await page.js("[document.querySelector('[data-waiting]'),"
                                 " document.querySelector('[data-tool=fullscreen]')?.title]")
            await page.call("Page.addScriptToEvaluateOnNewDocument",
                            source="delete Element.prototype.requestFullscreen")
            await page.open(panel.address)
            rig.show(solid((512, 512)))
            await page.until("document.querySelector('[data-tool=snapshot]') !== null")
            return waiting, gone, await page.js("document.querySelector('[data-tool=fullscreen]')")

    waiting, gone, without = asyncio.run(scenario())
    assert waiting == "Waiting for the first picture"
    assert gone == [None, "Full screen (F)"]
    assert without is None


def test_a_snapshot_is_saved_as_a_file(devtools):
    async def scenario():
        rig = Rig()
        async with opened(devtools, rig) as (page, _):
            await ready(rig, page)
            await page.js("HTMLAnchorElement.prototype.click = function () {"
                          " window.saved = [this.download, this.href] }")
            await page.click("[data-tool=snapshot]")
            name, address = await page.until("window.saved")
            return name, await page.js("(async () => { const image = new Image(); image.src = " + json.dumps(address)
                                       + "; await image.decode(); return [image.width, image.height] })()")

    name, size = asyncio.run(scenario())
    assert re.fullmatch(r"mirror \d{4}-\d\d-\d\d \d\d-\d\d-\d\d\.png", name)
    assert size == [512, 512]


def test_the_page_can_be_installed_and_keeps_a_phone_awake(devtools):
    async def scenario():
        async with serving(Rig()) as panel:
            page = await get(panel, "/")
            manifest = await get(panel, "/manifest.webmanifest")
            touch_icon = re.search(rb'apple-touch-icon" href="([^"]+)"', page.body)[1].decode()
            listed = [icon["src"] for icon in json.loads(manifest.body)["icons"]]
            icons = [await get(panel, name) for name in (*listed, touch_icon)]
        async with opened(devtools, Rig(), width=390, height=844, touch=True) as (tab, _):
            await tab.until("document.documentElement.dataset.awake !== undefined")
        return page, manifest, icons

    page, manifest, icons = asyncio.run(scenario())
    assert b"manifest.webmanifest" in page.body
    assert manifest.headers["content-type"].startswith("application/manifest+json")
    assert manifest.json["display"] == "standalone"
    assert [icon.status for icon in icons] == [200] * 3
    for icon, side in zip(icons[1:], (512, 180), strict=True):
        assert Image.open(io.BytesIO(icon.body)).size == (side, side)
