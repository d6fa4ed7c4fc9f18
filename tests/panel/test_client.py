"""What waits for a slow client."""

from __future__ import annotations

import json

from lcm_daemon.board import Change
from lcm_daemon.panel.client import ERRORS_KEPT, Outbox


def test_a_slow_client_is_sent_the_newest_of_each_thing():
    box = Outbox()
    for n in range(1000):
        box.changes([Change("strength", n, "osc/x"), Change("steps", -n, "osc/x")])
        box.status({"fps": n})
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
