"""The search for sources: it runs while a page looks, and what it finds becomes a list with pictures."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lcm_daemon.controllers.panel import sources
from lcm_daemon.controllers.panel.sources import SourceSearch
from lcm_daemon.core.network import NetworkPolicy
from tests.conftest import ManualClock
from tests.rigs.panel import Rig, get, serving, until, visiting

# Fifty sources with pictures; then half of them vanish. It ends with its input.
MANY = """
import base64, json, sys, threading, time
def say(**message): print(json.dumps(message), flush=True)
print("a library says hello", flush=True)
labels = [f"cam {n}" for n in range(50)]
say(transport="memory", labels=labels, problem="")
say(transport="ndi", labels=[], problem="it is not installed")
for label in labels: say(thumbnail=f"memory {label}", jpeg=base64.b64encode(label.encode()).decode())
say(round=1)
sys.stdin.readline()
say(transport="memory", labels=labels[::2], problem="")
say(round=2)
sys.stdin.read()
"""
ENDS = "import sys; sys.exit(1)"
HANGS = "import time; time.sleep(60)"


def command(program: str) -> Sequence[str]:
    return sys.executable, "-c", program


def test_fifty_sources_are_listed_with_pictures_and_forgotten_when_they_vanish() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.controls.sources = {"show": {"transport": "testcard", "label": "testcard", "options": {}}}
        async with serving(rig) as panel, visiting(panel) as page:
            assert panel._server is not None
            search = panel._server._sources
            search._command = command(MANY)
            assert [row["name"] for row in page.hello["lists"]["sources"]] == ["show"]
            await page.send({"look": "sources"})
            await until(lambda: len(search._pictures) == 50)
            rows = rig.controls.lists["sources"]
            assert [row["name"] for row in rows[:3]] == ["show", "memory cam 0", "memory cam 1"]
            assert rig.controls.lists["source_problems"] == ({"transport": "ndi", "problem": "it is not installed"},)
            picture = str(rows[2]["thumbnail"])
            assert (await get(panel, picture)).body == b"cam 1"
            process = search._process
            assert process is not None
            assert process.stdin is not None
            process.stdin.write(b"\n")
            await until(lambda: len(search._pictures) == 25)
            assert len(rig.controls.lists["sources"]) == 26
            assert (await get(panel, picture)).status == 404
            assert (await get(panel, "/thumbnails/sources/999.jpg")).status == 404
        assert process.returncode is not None  # it ends with the panel

    asyncio.run(scenario())


def test_a_search_ends_when_no_page_looks_and_is_not_started_too_often(clock: ManualClock) -> None:
    async def scenario() -> None:
        search = SourceSearch(Rig().controls, clock.now, command(HANGS))
        search.look()
        await until(lambda: search._process is not None)
        process = search._process
        clock.time += sources.LOOK_SECONDS
        await until(lambda: search._task is None)
        assert process is not None
        assert process.returncode is not None
        search._command = command(ENDS)
        started = []
        for _ in range(20):  # a process that ends at once
            clock.time += 1.0
            search.look()
            started.append(search._started_at)
            await until(lambda: search._task is None)
        assert len(set(started)) == 20 // int(sources.RESTART_SECONDS)
        await search.stop()

    asyncio.run(scenario())


def test_a_process_that_hangs_is_killed(clock: ManualClock) -> None:
    async def scenario() -> None:
        search = SourceSearch(Rig().controls, clock.now, command(HANGS))
        search.look()
        await until(lambda: search._process is not None)
        for _ in range(int(sources.SILENCE_SECONDS)):
            clock.time += 1.0
            search.look()
        await until(lambda: search._task is None)

    asyncio.run(scenario())


def test_the_search_uses_the_ndi_servers_of_the_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCM_DAEMON_STATE", str(tmp_path))
    tells = ("import json, os, sys; print(json.dumps({'transport': 'ndi', 'problem': '', "
             "'labels': [os.environ['NDI_CONFIG_DIR']]}), flush=True); sys.stdin.read()")

    async def scenario() -> None:
        rig = Rig()
        rig.controls.network = NetworkPolicy(ndi_discovery=("10.0.0.5",))
        search = SourceSearch(rig.controls, command=command(tells))
        search.look()
        await until(lambda: bool(rig.controls.lists.get("sources")))
        await search.stop()
        assert str(rig.controls.lists["sources"][0]["label"]).startswith(str(tmp_path / "ndi"))

    asyncio.run(scenario())


def test_messages_that_make_no_sense_are_skipped() -> None:
    search = SourceSearch(Rig().controls)
    picture = {"thumbnail": "x", "jpeg": base64.b64encode(b"x").decode()}
    for message in ({}, picture, {"transport": "ndi", "labels": []}):
        try:
            search._take(message)
        except KeyError:
            assert message == {"transport": "ndi", "labels": []}
    assert search._labels == {"ndi": []}


def test_a_viewer_starts_no_search() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            assert panel._server is not None
            rig.controls.viewers.add(page.hello["you"])
            await page.send({"look": "sources"})
            await page.send({"look": "something else"})
            begun = time.perf_counter()
            assert await page.silent()
            assert panel._server._sources._task is None
            assert time.perf_counter() - begun < 5.0

    asyncio.run(scenario())
