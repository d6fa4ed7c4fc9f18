"""Parity: every parameter answers on OSC, OSCQuery, MIDI, the page, in cues and in YAML, and every command too.

What there is comes from the tables: TABLE, what every recipe that comes with the daemon adds to it, tempo and
modulators. So a parameter that is added tomorrow and is not reached by one of these ways makes its test fail.

By MIDI a number, a switch and a choice follow a fader; a text is set by a button that holds it (`value`).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from lcm_daemon.controllers.midi.device import ECHO_LATENCY
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Parameter, Table, Value
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.shows.reader import load_show
from tests.conftest import need
from tests.rigs import browser
from tests.rigs.desk import Stage, running, until
from tests.rigs.oscquery_peer import Query, Udp
from tests.rigs.page import DRAWERS, drawer, prompt_part
from tests.rigs.parity import (
    ARGUMENTS,
    BUTTONS,
    COMMANDS,
    TEXT,
    Ports,
    control_of,
    desk,
    other,
    table_of_show,
    tag_of,
    write_show,
)

SOON = 3.0  # seconds that a way has to bring a value home
ENDLESS = Parameter("endless", "float", 0.0, "Without ends it has no fader.")
HELPLESS = Parameter("helpless", "float", 0.0, "", 0.0, 1.0)

Wrong = dict[str, str]  # what is wrong, by parameter
Check = Callable[[Stage, Ports], Coroutine[Any, Any, Wrong]]
Give = Callable[[Stage, Ports, str], Coroutine[Any, Any, None]]


def same(one: Any, two: Any) -> bool:
    """Floats come over OSC in 32 bits."""
    if isinstance(one, (int, float)) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-6)
    return bool(one == two)


# One check for each way

async def arrives(stage: Stage, name: str, wanted: Value) -> str:
    """Why not; empty if the value comes."""
    came = await until(lambda: same(stage.values[name], wanted), SOON)
    return "" if came else f"it stays {stage.values[name]!r}, and {wanted!r} was set"


def faults(found: Iterable[tuple[str, str]]) -> Wrong:
    return {name: fault for name, fault in found if fault}


async def check_osc(stage: Stage, ports: Ports) -> Wrong:
    """It is set by one program, and another one, which has subscribed, is told."""
    wrong = []
    with Udp(ports.osc) as hand, Udp(ports.osc) as eye:
        heard: dict[str, Any] = {}

        def told(address: str, wanted: Value) -> bool:
            heard.update({where: values[0] for where, values in eye.received()})
            return address in heard and same(heard[address], wanted)

        eye.send("/lcm/subscribe")
        for name, parameter in stage.table.items():
            wanted, address = other(parameter, stage.values[name]), f"/lcm/{name}"
            hand.send(address, tag_of(parameter), wanted)
            fault = await arrives(stage, name, wanted)
            seen = await until(lambda address=address, wanted=wanted: told(address, wanted), SOON)
            wrong.append((name, fault or ("" if seen else f"no feedback: {heard.get(address)!r}")))
    return faults(wrong)


async def check_oscquery(stage: Stage, ports: Ports) -> Wrong:
    """It has a node with all that a client needs to draw its control, is set through it, and is listened to."""
    query, wrong = Query("127.0.0.1", ports.oscquery), []
    nodes = await query.methods()
    async with query.stream() as hand, query.stream() as eye:
        for name, parameter in stage.table.items():
            node, path = nodes.get(f"/lcm/{name}"), f"/lcm/{name}"
            fault = lacks(node, parameter, stage.values[name])
            if node and not fault:
                wanted = other(parameter, stage.values[name])
                await eye.command("LISTEN", path)
                await eye.send(path)
                await eye.receive_from(path)
                await hand.send(path, node["TYPE"], wanted)
                fault = await arrives(stage, name, wanted)
                sent = (await eye.receive_from(path))[0]
                fault = fault or ("" if same(sent, wanted) else "LISTEN sends another value")
            wrong.append((name, fault))
    return faults(wrong)


def lacks(node: Mapping[str, Any] | None, parameter: Parameter, value: Value) -> str:
    """What a node has not that its parameter has."""
    if node is None:
        return "it has no node"
    ranges = {"choice": [{"VALS": list(parameter.choices)}], "text": None, "bool": None}
    high = min(parameter.high, 2**31 - 1) if parameter.kind == "int" else parameter.high  # what every client can send
    ends = [{"MIN": parameter.low, "MAX": high}]
    said = {"ACCESS": 3, "VALUE": [value], "DESCRIPTION": parameter.description,
            "RANGE": ranges.get(parameter.kind, ends)}
    wrong = [key for key, wanted in said.items() if node.get(key) != wanted]
    wrong += ["TYPE"] if node["TYPE"] != tag_of(parameter) else []
    wrong += ["DESCRIPTION"] if not parameter.help else []
    wrong += ["RANGE"] if parameter.kind in ("float", "int") and not math.isfinite(parameter.high) else []
    return f"its node has a wrong or no {', '.join(wrong)}" if wrong else ""


async def check_midi(stage: Stage, ports: Ports) -> Wrong:
    """A fader takes it from one end to the other; a button sets a text. Lamps and motors are told."""
    assert await until(lambda: "Pad" in stage.midi.inputs)
    await asyncio.sleep(2 * ECHO_LATENCY)  # until then, a position that the device has just been sent is its echo
    wrong = []
    for place, (name, parameter) in enumerate(stage.table.items()):
        channel, number = control_of(place)
        if parameter.kind == "text":
            stage.midi.play(0x90 + channel - 1, number, 100)
            wrong.append((name, await arrives(stage, name, TEXT)))
            continue
        low, high = {"bool": (False, True), "choice": (parameter.choices[:1], parameter.choices[-1:])}.get(
            parameter.kind, (parameter.low, parameter.high))
        for raw, end in ((127, high), (0, low)):
            wanted = end[0] if isinstance(end, tuple) else end
            stage.midi.play(0xB0 + channel - 1, number, raw)
            wrong.append((name, await arrives(stage, name, wanted)))
        stage.move(name, high[0] if isinstance(high, tuple) else high)
        lamp = ("Pad", (0xB0 + channel - 1, number, 127))
        if not await until(lambda lamp=lamp: lamp in stage.midi.sent, SOON):
            wrong.append((name, "the fader's motor is not told"))
    return faults(wrong)


async def check_socket(stage: Stage, ports: Ports) -> Wrong:
    """One page's WebSocket sets it, another's is told."""
    url, wrong = f"ws://127.0.0.1:{ports.panel}/ws", []
    async with connect(url, proxy=None, max_queue=None) as hand, connect(url, proxy=None) as eye:
        hello = json.loads(await eye.recv())["hello"]
        drawn = {row["name"]: row for row in hello["parameters"]}
        for name, parameter in stage.table.items():
            if name not in drawn or not drawn[name]["help"]:
                wrong.append((name, "the page is not told of it"))
                continue
            wanted = other(parameter, stage.values[name])
            await hand.send(json.dumps({"set": {name: wanted}}))
            fault = await arrives(stage, name, wanted)
            wrong.append((name, fault or await is_told(eye, name, wanted)))
    return faults(wrong)


async def is_told(eye: Any, name: str, wanted: Value) -> str:
    try:
        async with asyncio.timeout(SOON):
            while True:
                message = await eye.recv()
                changes = json.loads(message).get("changes", []) if isinstance(message, str) else []
                if {"name": name, "value": wanted} in [{k: row[k] for k in ("name", "value")} for row in changes]:
                    return ""
    except TimeoutError:
        return "the other page is not told"


WAYS: Mapping[str, Check] = {
    "OSC": check_osc, "OSCQuery": check_oscquery, "MIDI": check_midi, "page's WebSocket": check_socket,
}


# The tests

def test_the_show_has_every_kind_of_parameter(tmp_path: Path) -> None:
    """What some recipe of the package adds is among what this show's recipe adds."""
    def kinds(table: Table) -> set[str]:
        return {name.partition("/")[0] + name.rpartition("/")[2] * name.startswith("control/") for name in table}

    shipped = [kinds(load_recipe(name).table()) for name in recipe_names()]
    assert set().union(*shipped) <= kinds(table_of_show(tmp_path))


@pytest.mark.parametrize("way", WAYS)
def test_every_parameter_is_reached(tmp_path: Path, way: str) -> None:
    async def scenario() -> Wrong:
        async with desk(tmp_path) as (stage, ports):
            return await WAYS[way](stage, ports)

    assert asyncio.run(scenario()) == {}


def test_one_that_cannot_be_reached_is_found(tmp_path: Path) -> None:
    """The checks themselves: parameters that were declared badly."""
    async def scenario() -> set[str]:
        async with desk(tmp_path, [ENDLESS, HELPLESS]) as (stage, ports):
            return set((await check_oscquery(stage, ports)) | (await check_socket(stage, ports)))

    assert asyncio.run(scenario()) == {"endless", "helpless"}


def test_every_parameter_is_set_by_a_shows_yaml(tmp_path: Path) -> None:
    table = table_of_show(tmp_path)
    wanted = {name: other(parameter, parameter.default) for name, parameter in table.items()}
    show = load_show(write_show(tmp_path, parameters=wanted))
    assert show.start_values(show.recipe) == wanted


def test_every_parameter_is_set_by_a_cue_and_fades_where_it_can(tmp_path: Path) -> None:
    table = table_of_show(tmp_path)
    wanted = {name: other(parameter, parameter.default) for name, parameter in table.items()}
    file = write_show(tmp_path, cues=[{"name": "all", "set": wanted, "fade": 4}])

    async def scenario() -> tuple[Any, ...]:
        async with running(file) as stage:
            begun = stage.values
            stage.automation.cue_list.go(stage.now)
            stage.step()
            moments = [stage.parameters.evaluate(now) for now in (0.0, 2.0, 4.0)]
            return begun, *moments

    begun, *moments = asyncio.run(scenario())
    at_once = {name for name in table if same(moments[0][name], wanted[name])}
    assert at_once == {p.name for p in table.values() if p.kind in ("bool", "choice")}
    for name in table.keys() - at_once:
        half = moments[1][name]
        assert isinstance(half, Blend) if table[name].glided_by else begun[name] != half != wanted[name], name
    assert {name: value for name, value in moments[2].items() if not same(value, wanted[name])} == {}


def test_addresses_are_methods_or_containers_never_both(tmp_path: Path) -> None:
    """OSC 1.0 has methods at the leaves of the tree, and there are clients that take nothing else."""
    paths = [*table_of_show(tmp_path), *COMMANDS, "status/any"]
    assert [(one, other) for one in paths for other in paths if other.startswith(f"{one}/")] == []


# The page, in a real browser

SHOWN = """Object.fromEntries([...document.querySelectorAll('[data-parameter]')].map(row => {
    const control = row.querySelector('[role=slider], [role=switch], [role=radiogroup], select, textarea, input');
    const read = {slider: e => Number(e.ariaValueNow), switch: e => e.ariaChecked === 'true',
        radiogroup: e => e.querySelector('input:checked').value, select: e => e.value, textarea: e => e.value,
        input: e => Number(e.value)};
    const kind = control && (control.role ?? control.localName);
    return [row.dataset.parameter, control ? [kind, read[kind](control)] : ['no control', null]] }))"""


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need(browser.find() is not None, "the page's tests need Chromium")
    with browser.running(tmp_path_factory.mktemp("browser")) as address:
        yield address


async def use(page: browser.Tab, kind: str, parameter: Parameter, wanted: Value) -> None:
    """Move a control as a hand does."""
    row = f"[data-parameter='{parameter.name}']"
    if kind == "slider":
        await page.js(f"document.querySelector({row + ' [role=slider]'!r}).focus()")
        await page.key("End" if wanted == parameter.high else "Home")
    elif kind in ("textarea", "input"):
        await page.write(f"{row} {kind}", str(wanted))
        await page.key("Enter")
    elif kind == "select":
        await choose(page, f"{row} select", wanted)
    else:
        part = "[role=switch]" if kind == "switch" else f"label:has([value='{wanted}'])"
        await page.click(f"{row} {part}")


async def choose(page: browser.Tab, selector: str, choice: Value) -> None:
    await page.js(f"(e => {{ e.value = {choice!r}; e.dispatchEvent(new Event('change', {{bubbles: true}})) }})"
                  f"(document.querySelector({selector!r}))")


def far_end(parameter: Parameter, value: Value) -> Value:
    """What a hand moves a control to: the other end, the other state, another text."""
    if parameter.kind in ("float", "int"):
        return parameter.high if value != parameter.high else parameter.low
    return f"{value} by hand" if parameter.kind == "text" else other(parameter, value)


async def check_page(stage: Stage, page: browser.Tab) -> Wrong:
    """In sight or in a drawer, it has a control that shows the present value, and moves it."""
    for name, parameter in stage.table.items():
        stage.move(name, other(parameter, stage.values[name]))
    left, wrong = dict(stage.table), []
    for place in ("", *DRAWERS):
        if place:
            await drawer(page, place)
        for name, (kind, fault) in (await shown_controls(stage, page, left)).items():
            parameter = left.pop(name)
            if not fault:
                wanted = far_end(parameter, stage.values[name])
                await use(page, kind, parameter, wanted)
                fault = await arrives(stage, name, wanted)
            wrong.append((name, fault))
    return faults([*wrong, *((name, "no control") for name in left)])


async def shown_controls(stage: Stage, page: browser.Tab, left: Table) -> dict[str, tuple[str, str]]:
    """Kind of each control that the page shows now and that has not been used; and what is wrong with its value."""
    end = time.perf_counter() + SOON
    while True:
        shown = {name: row for name, row in (await page.js(SHOWN)).items() if name in left}
        wrong = {name: value for name, (_, value) in shown.items() if not same(value, stage.values[name])}
        if not wrong or time.perf_counter() > end:
            return {name: (kind, f"its {kind} shows {wrong[name]!r}, not {stage.values[name]!r}" if name in wrong
                           else "") for name, (kind, _) in shown.items()}
        await asyncio.sleep(0.05)


def test_every_parameter_has_a_control_on_the_page(tmp_path: Path, devtools: str) -> None:
    async def scenario() -> Wrong:
        async with desk(tmp_path) as (stage, ports), browser.tab(devtools) as page:
            await page.open(f"http://127.0.0.1:{ports.panel}")
            await prompt_part(page, "More")
            return await check_page(stage, page)

    assert asyncio.run(scenario()) == {}


IN_MENU = {  # commands of a look's menu; what is written where it has a field
    "cue/load": "", "cue/overwrite": "", "cue/move": "", "cue/duplicate": "", "cue/delete": "", "cue/rename": "257",
    "cue/fade": "2.5", "cue/follow": "7"}


DRAWER_OF = {"recipe": "Model", "size": "Model", "modulator/add": "Modulation", "modulator/remove": "Modulation",
             **{name: "Audience" for name in COMMANDS if name.startswith("audience/")}}
BUTTON_OF = {"modulator/remove": "[data-remove]",  # one for each modulator
             "audience/wall": "label:has([data-wall=cycle])"}
SITUATION = {  # what a show with visitors and several engines tells
    "sessions": ({"session": 3, "state": "active", "seat": 1, "left": 41, "wait": 0, "prompt": "", "shown": True},),
    "engines": tuple({"name": name, "on": on, "state": "rendering", "fps": 1.0, "latency": 1.0}
                     for name, on in (("a", True), ("b", False)))}


async def show_place(page: browser.Tab, name: str) -> None:
    """Open the drawer of a command that is not in sight."""
    if await page.js(f"document.querySelector(`[data-command='{name}']:not(:disabled)`) === null"):
        await drawer(page, DRAWER_OF.get(name, "System"))
        await page.js("document.querySelectorAll('[data-drawer] details').forEach(part => { part.open = true })")


async def press_in_menu(page: browser.Tab, name: str) -> None:
    """Give a command in the menu of the last look, once all are there that the commands before it have made."""
    looks = {"cue/load": 3, "cue/delete": 5}.get(name, 4)
    await page.until(f"document.querySelectorAll('[data-cue]').length >= {looks}")
    chosen = "[data-cue='257']" if name == "cue/delete" else "[data-cue]"  # a look of the show's file cannot be deleted
    await page.js(f"[...document.querySelectorAll({chosen!r})].at(-1).focus()")
    await page.key("F2")
    selector = f"[data-look-menu] [data-command='{name}']"
    if IN_MENU[name]:
        await page.write(selector, IN_MENU[name])
        await page.key("Enter")
    else:
        await page.click(selector)
    await page.key("Escape")


async def press(page: browser.Tab, name: str) -> None:
    """Give a command with what stands there for it: a form, or a button, which may open one."""
    if name in IN_MENU:
        await press_in_menu(page, name)
        return
    await show_place(page, name)
    if name in BUTTON_OF:
        await page.click(BUTTON_OF[name])
        return
    form = f"form[data-command='{name}']"
    if await page.js(f"document.querySelector({form!r}) === null"):
        await page.click(f"[data-command='{name}']:not(:disabled)")
        form = "[data-deck] form"
    fields = await page.js(f"document.querySelectorAll({form + ' input'!r}).length")
    for number in range(fields):
        await page.write(f"{form} input:nth-of-type({number + 1})", "256")
    if fields:
        await page.key("Enter")
    elif await page.js(f"document.querySelector({form + ' select'!r}) !== null"):
        await choose(page, f"{form} select", ARGUMENTS[name][0])


def test_every_command_is_given_on_the_page(tmp_path: Path, devtools: str) -> None:
    async def scenario() -> Wrong:
        cues = [{"name": name, "set": {"mix": 1}} for name in ("one", "two", "three")]
        async with desk(tmp_path, cues=cues) as (stage, ports), browser.tab(devtools) as page:
            await page.open(f"http://127.0.0.1:{ports.panel}")
            stage.automation.cue_list.goto("two", stage.now)
            stage.status, stage.lists = {"audience": "1 plays", "wall": "one", "hours": "open"}, SITUATION
            stage.step()
            await page.until("document.querySelector('[data-cue=two][data-state=current]') !== null")
            wrong = []
            for name in COMMANDS:
                stage.calls.clear()
                stage.status["audience_open"] = name != "audience/open"
                stage.step()
                await press(page, name)
                came = await until(lambda name=name: [call.name for call in stage.calls] == [name], SOON)
                wrong.append((name, "" if came else f"what came is {stage.calls}"))
            return faults(wrong)

    assert asyncio.run(scenario()) == {}


# Commands

async def give_by_osc(stage: Stage, ports: Ports, name: str) -> None:
    tags = "".join(map(tag_of, COMMANDS[name].arguments))
    with Udp(ports.osc) as hand:
        hand.send(f"/lcm/{name}", tags, *ARGUMENTS[name])


async def give_by_oscquery(stage: Stage, ports: Ports, name: str) -> None:
    query = Query("127.0.0.1", ports.oscquery)
    node = (await query.methods())[f"/lcm/{name}"]
    assert (node["ACCESS"], node["DESCRIPTION"]) == (2, COMMANDS[name].help)
    signature = node.get("OVERLOADS", [node])[0]  # with the optional arguments
    async with query.stream() as hand:
        await hand.send(f"/lcm/{name}", signature["TYPE"], *(ARGUMENTS[name] or [None]))
        await until(lambda: stage.calls)


async def give_by_midi(stage: Stage, ports: Ports, name: str) -> None:
    assert await until(lambda: "Pad" in stage.midi.inputs)
    stage.midi.play(0x90 + BUTTONS - 1, list(COMMANDS).index(name), 100)


async def give_by_socket(stage: Stage, ports: Ports, name: str) -> None:
    async with connect(f"ws://127.0.0.1:{ports.panel}/ws", proxy=None) as hand:
        await hand.send(json.dumps({"command": {"name": name, "arguments": ARGUMENTS[name]}}))
        await until(lambda: stage.calls)


@pytest.mark.parametrize("give", [give_by_osc, give_by_oscquery, give_by_midi, give_by_socket])
def test_every_command_is_given(tmp_path: Path, give: Give) -> None:
    async def scenario() -> None:
        async with desk(tmp_path) as (stage, ports):
            for name, arguments in ARGUMENTS.items():
                stage.calls.clear()
                await give(stage, ports, name)
                assert await until(lambda: stage.calls), name
                assert [(call.name, call.arguments) for call in stage.calls] == [(name, arguments)]

    asyncio.run(scenario())
