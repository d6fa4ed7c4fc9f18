"""MoveKeys: which messages may be merged: only those that set a parameter to a value that is accepted for certain."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.controllers.osc_protocol.aliases import Aliases, MapEntry
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.moves import MoveKeys
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import COMMANDS

ENTRIES = [MapEntry("/fader", "strength", (0.0, 0.5)), MapEntry("/go", "cue/go"),
           MapEntry("/second", "strength", (0.0, 0.5), argument=1), MapEntry("/off", "strength", fixed=(0.0,)),
           MapEntry("/plain", "seed")]
KEYS = MoveKeys(TABLE, Aliases(["bare", "streamdiffusiontd"], ENTRIES, TABLE, COMMANDS).targets)


@pytest.mark.parametrize(("address", "arguments", "is_move"), [
    ("/lcm/strength", [0.5], True), ("/lcm/seed", [7], True), ("/lcm/freeze", [True], True), ("/lcm/mode", [1], True),
    ("/lcm/prompt", ["ocean"], True), ("/lcm/prompt", ["deep", "ocean"], True), ("/fader", [0.3], True),
    ("/plain", [3], True), ("/strength", [0.5], True),
    ("/lcm/strength", [], False), ("/lcm/strength", ["?"], False), ("/lcm/strength", ["+", 0.1], False),
    ("/lcm/strength", [float("nan")], False), ("/lcm/strength", [float("inf")], False), ("/lcm/mode", ["text"], False),
    ("/lcm/prompt", ["?"], False), ("/lcm/prompt", [5], False), ("/lcm/prompt", ["ocean", 0.5], False),
    ("/lcm/freeze", ["toggle"], False), ("/lcm/cue/go", [1.0], False), ("/lcm/panic", [], False), ("/go", [1], False),
    ("/off", [1], False), ("/second", [1, 2], False), ("/lcm/s*", [0.5], False), ("/unknown", [0.5], False),
    ("/t_list", [10, 20], False), ("/sdmode", ["txt2img"], False), ("/lcm/sync", [4], False),
])
def test_what_a_later_message_replaces(address: str, arguments: list[Any], is_move: bool) -> None:
    assert KEYS.key(encode(address, arguments)) == (address.encode() if is_move else b"")
