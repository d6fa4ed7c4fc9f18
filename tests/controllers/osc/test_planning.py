"""Tests of Planner: what is kept of a message while it waits for its time tag."""

from __future__ import annotations

import pytest

from lcm_daemon.controllers.osc.planning import Planner
from lcm_daemon.controllers.osc_protocol.aliases import Aliases, MapEntry
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import COMMANDS

ENTRIES = [MapEntry("/fader", "strength"), MapEntry("/stop", "panic"), MapEntry("/go", "cue/go")]
PLANNER = Planner(TABLE, Aliases(["streamdiffusiontd"], ENTRIES, TABLE, COMMANDS).targets)


@pytest.mark.parametrize(("address", "moves"), [
    ("/lcm/strength", ["strength"]), ("/fader", ["strength"]), ("/t_list", ["strength", "steps"]), ("/go", []),
    ("/lcm/cue/go", []), ("/unknown", []), ("/lcm/cue/*", []),
])
def test_a_message_stands_for_itself(address: str, moves: list[str]) -> None:
    message = encode(address, [0.5])
    assert [(each.message, list(each.moves)) for each in PLANNER.plan(message)] == [(message, moves)]


@pytest.mark.parametrize("address", ["/lcm/panic", "/stop"])
def test_nothing_stands_for_a_panic(address: str) -> None:
    assert PLANNER.plan(encode(address, [1.0])) == []


def test_a_pattern_becomes_one_message_for_each_parameter() -> None:
    planned = PLANNER.plan(encode("/lcm/mi?", [0.5, "more"])) + PLANNER.plan(encode("/lcm/{seed,steps}", [3]))
    assert [(each.message, list(each.moves)) for each in planned] == [
        (encode("/lcm/mix", [0.5, "more"]), ["mix"]), (encode("/lcm/seed", [3]), ["seed"]),
        (encode("/lcm/steps", [3]), ["steps"]),
    ]
