"""Messages that wait for a slow client, and messages that a network delayed."""

from __future__ import annotations

import asyncio
import json

import pytest

from lcm_daemon.controllers.panel.client import LATE_SECONDS
from lcm_daemon.controllers.panel.send_queue import ERRORS_KEPT, SendQueue
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import Change, ParameterState
from tests.rigs.panel import Rig, serving, until, visiting

CONTROLS = ControlState(TABLE, {}, Metrics(), lambda: None)


def test_a_slow_client_is_sent_the_newest_item_of_each_kind():
    queue = SendQueue()
    for n in range(1000):
        queue.put_changes([Change("strength", n, "osc/x"), Change("steps", -n, "osc/x")])
        queue.put_status(json.dumps({"status": {"fps": n}}))
        queue.put_frame(bytes([n % 256]))
        queue.put_error(f"error {n}")
        CONTROLS.set_list("looks", ({"name": "dawn", "number": n},))
        queue.put_list("looks")
    *errors, changes, status, lists, frame = queue.pop_all(CONTROLS)
    assert [json.loads(e)["error"] for e in errors] == [f"error {n}" for n in range(1000 - ERRORS_KEPT, 1000)]
    assert [c["value"] for c in json.loads(changes)["changes"]] == [999, -999]
    assert json.loads(status) == {"status": {"fps": 999}}
    assert json.loads(lists) == {"lists": {"looks": [{"name": "dawn", "number": 999}]}}
    assert frame == bytes([999 % 256])
    assert list(queue.pop_all(CONTROLS)) == []


def test_a_change_is_dropped_if_the_client_has_set_a_newer_value():
    queue = SendQueue()
    queue.put_changes([Change("strength", 0.2, "osc/x")])
    queue.drop_change("strength")
    assert list(queue.pop_all(CONTROLS)) == []


def test_an_empty_list_of_changes_fills_nothing():
    queue = SendQueue()
    queue.put_changes([])
    assert not queue.filled.is_set()


@pytest.mark.slow
def test_a_message_with_an_old_heartbeat_is_ignored():
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


@pytest.mark.slow
@pytest.mark.parametrize("beat", ["soon", None, [], 1e300, -1e300])
def test_a_heartbeat_of_any_type_does_no_harm(beat):
    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            await page.send({"command": "tap", "beat": beat})
            await page.send({"command": "panic"})
            await until(lambda: [call.name for call in rig.called][-1:] == ["panic"])

    asyncio.run(scenario())


def test_numbers_in_effect_are_sent_if_they_differ_from_the_values_set():
    live = {"strength": ParameterState(0.5, 0.25, "cue"), "steps": ParameterState(2, 2, "show"),
            "prompt": ParameterState("a", "b", "c")}

    async def scenario():
        rig = Rig()
        async with serving(rig) as panel, visiting(panel) as page:
            rig.controls.apply_update([], {"fps": 1.0}, live)
            await page.heard("status")
            async with visiting(panel) as later:
                rig.controls.apply_update([], {"fps": 1.0}, {})
                return page.hello["live"], later.hello["live"], await page.heard("live")

    assert asyncio.run(scenario()) == ({}, {"strength": 0.25}, {})
