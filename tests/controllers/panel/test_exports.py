"""The files for other programs that the page offers: built from the show as it plays, by the name of the export."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from dataclasses import replace

import pytest

from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.controllers.panel import exports
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.exports.formats import Format
from lcm_daemon.exports.surface import Surface
from tests.rigs.panel import Answer, Rig, get, serving

FIXED = Surface("my show", {}, {}, {}, (), (), "ink", (), {}, (), 30.0, (512, 512), (), (), "127.0.0.1", 9000, 8000, 0)
built: list[Surface] = []


def build(surface: Surface) -> bytes:
    """The module's function of a format whose module is this one."""
    if surface.osc_port == 1:
        raise LcmDaemonError("osc is off")
    built.append(surface)
    return b"file"


@pytest.fixture(autouse=True)
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    built.clear()
    monkeypatch.setattr(exports, "FORMATS", {
        "toy": Format("{show}.toy", "a toy", __name__, program="Toy", needs=("osc",)),
        "other": Format("{show}.other", "another", __name__, needs=("osc", "oscquery"))})


def fetched(path: str, rig: Rig, fixed: Surface = FIXED) -> Answer:
    async def scenario():
        async with serving(rig, surface=fixed) as panel:
            return await get(panel, path)
    return asyncio.run(scenario())


def test_a_file_has_the_values_looks_and_prompts_of_this_moment() -> None:
    rig = Rig(cues=[Cue("storm", {"strength": 0.8})])
    rig.controls.set_list("looks", ({"name": "storm"},))
    rig.controls.set_list("prompts", ({"number": 1, "text": "lava"}, {"number": 3, "text": "ice"}))
    rig.controls.status = {"recipe": "sd-turbo"}
    answer = fetched("/export/toy", rig)
    assert (answer.status, answer.body) == (200, b"file")
    assert urllib.parse.unquote(answer.headers["content-disposition"]) == "attachment; filename*=UTF-8''my_show.toy"
    (surface,) = built
    assert (surface.cues, surface.prompts, surface.recipe) == (("storm",), ("lava", "", "ice"), "sd-turbo")
    assert (surface.values["strength"], surface.recipes) == (0.5, ("ink", "sd-turbo"))
    assert surface.table.keys() == rig.controls.table.keys()
    assert surface.host == "127.0.0.1"


@pytest.mark.parametrize("path", ["/export/third", "/export/..%2f..%2fetc", "/export/"])
def test_another_name_is_not_found(path: str) -> None:
    assert fetched(path, Rig()).status == 404


def test_a_show_that_cannot_be_exported_says_why() -> None:
    answer = fetched("/export/toy", Rig(), replace(FIXED, osc_port=1))
    assert (answer.status, answer.body) == (409, b"osc is off\n")


def test_a_flood_of_requests_builds_a_file_once() -> None:
    async def scenario():
        async with serving(Rig(), surface=FIXED) as panel:
            return await asyncio.gather(*(get(panel, "/export/toy") for _ in range(8)))

    assert {answer.body for answer in asyncio.run(scenario())} == {b"file"}
    assert len(built) == 1


def asked_at(*hosts: str) -> float:
    """Ask for a file at each of these addresses of the page. Returns the seconds that all have taken."""
    async def scenario():
        async with serving(Rig(), surface=FIXED, host="0.0.0.0") as panel:
            began = time.perf_counter()
            for host in hosts:
                await get(panel, "/export/toy", Host=f"{host}:{panel.port}")
            return time.perf_counter() - began

    return asyncio.run(scenario())


def test_every_address_of_this_machine_has_the_same_file() -> None:
    asked_at("127.0.0.1", "127.0.7.7", "localhost", "localhost.", "[::1]", "192.168.7.7")
    assert [surface.host for surface in built] == ["127.0.0.1", "192.168.7.7"]


def test_after_a_build_the_next_one_waits_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Format, "build", lambda *_: time.sleep(0.05) or b"")
    assert asked_at("192.168.7.7", "192.168.7.8", "192.168.7.9") > 0.25


@pytest.mark.parametrize(("asked", "hosts"), [
    ("localhost", ("10.0.0.9", "127.0.0.1", "127.0.0.1")), ("192.168.7.7", ("10.0.0.9", "192.168.7.7", "192.168.7.7"))])
def test_a_server_with_one_address_is_named_by_that(asked: str, hosts: tuple[str, str, str]) -> None:
    async def scenario():
        fixed = replace(FIXED, host="10.0.0.9", page_host="127.0.0.1", query_host="127.0.0.1")
        async with serving(Rig(), surface=fixed, host="0.0.0.0") as panel:
            await get(panel, "/export/toy", Host=f"{asked}:{panel.port}")

    asyncio.run(scenario())
    assert [(each.host, each.page_host, each.query_host) for each in built] == [hosts]


def test_the_page_lists_them() -> None:
    rig = Rig()

    async def scenario():
        async with serving(rig, surface=FIXED):
            return rig.controls.lists["exports"]

    toy, other = asyncio.run(scenario())
    assert toy == {"name": "toy", "program": "Toy", "help": "a toy", "missing": ""}
    assert other["program"] == "other"
    assert other["missing"].startswith("show my show: oscquery is off")
