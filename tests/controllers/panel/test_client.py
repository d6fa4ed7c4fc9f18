"""What waits for a slow client, and what a network has kept for too long."""

from __future__ import annotations

import asyncio
import json

import pytest

from lcm_daemon.controllers.panel.client import ERRORS_KEPT, LATE_SECONDS, Outbox
from lcm_daemon.core.requests import Change, ParameterState
from tests.rigs.panel import Rig, serving, until, visiting


def test_a_slow_client_is_sent_the_newest_of_each_thing():
    box = Outbox()
    for n in range(1000):
        box.changes([Change("strength", n, "osc/x"), Change("steps", -n, "osc/x")])
        box.status(json.dumps({"status": {"fps": n}}))
        box.picture(bytes([n % 256]))
        box.error(f"error {n}")
    *errors, changes, status, picture = box.take()
    assert [json.loads(e)["error"] for e in errors] == [f"error {n}" for n in range(1000 - ERRORS_KEPT, 1000)]
    assert [c["value"] for c in json.loads(changes)["changes"]] == [999, -999]
    assert json.loads(status) == {"status": {"fps": 999}}
    assert picture == bytes([999 % 256])
    assert list(box.take()) == []


def test_a_change_the_client_has_moved_on_from_is_withheld():
    box = Outbox()
    box.changes([Change("strength", 0.2, "osc/x")])
    box.withhold("strength")
    assert list(box.take()) == []


def test_no_changes_wake_nobody():
    box = Outbox()
    box.changes([])
    assert not box.wake.is_set()


def test_beats_come_and_what_names_one_of_long_ago_is_not_obeyed():
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            first, second = await page.heard("beat"), await page.heard("beat")
            late = second - LATE_SECONDS - 1.0
            await page.send({"set": {"strength": 0.9, "unknown": 1}, "command": "panic", "beat": late})
            told = await page.heard("changes")
            await page.send({"set": {"strength": 0.7}, "command": "tap", "beat": await page.heard("beat")})
            await until(lambda: rig.called)
            return second - first, told, rig.taken, rig.called

    gap, told, taken, called = asyncio.run(scenario())
    assert 0.4 < gap < 5.0
    assert told == [{"name": "strength", "value": 0.5, "origin": "panel"}]
    assert [change.value for change in taken] == [0.7]
    assert [call.name for call in called] == ["tap"]


@pytest.mark.parametrize("beat", ["soon", None, [], 1e300, -1e300])
def test_a_beat_of_any_shape_does_no_harm(beat):
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send({"command": "tap", "beat": beat})
            await page.send({"command": "panic"})
            await until(lambda: [call.name for call in rig.called][-1:] == ["panic"])

    asyncio.run(scenario())


def test_numbers_in_force_are_told_where_they_are_not_the_ones_set():
    live = {"strength": ParameterState(0.5, 0.25, "cue"), "steps": ParameterState(2, 2, "show"), "prompt": ParameterState("a", "b", "c")}

    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            rig.controls.apply_update([], {"fps": 1.0}, live)
            await page.heard("status")
            async with visiting(panel) as later:
                rig.controls.apply_update([], {"fps": 1.0}, {})
                return page.hello["live"], later.hello["live"], await page.heard("live")

    assert asyncio.run(scenario()) == ({}, {"strength": 0.25}, {})
