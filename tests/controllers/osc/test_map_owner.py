"""Learning by OSC while the show plays: the next address that is not the daemon's own is bound."""

from __future__ import annotations

from typing import Any

import pytest

from lcm_daemon.controllers.osc import map_owner
from lcm_daemon.controllers.osc.map_owner import line_of
from lcm_daemon.controllers.osc_protocol.aliases import MapEntry
from tests.rigs.osc_peers import Peer, Rig, play, rig


@pytest.fixture(autouse=True)
def _short_gestures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_owner, "QUIET_SECONDS", 0.05)


def learning(one: Rig) -> dict[str, Any]:
    return dict(next(iter(one.controls.lists["learning"]), {}))


def lines(one: Rig, name: str) -> list[dict[str, Any]]:
    return [line for line in map(dict, map(line_of, one.osc.options["map"])) if line["to"] == name]


@pytest.mark.parametrize(("name", "sent", "keys", "given", "value"), [
    ("mix", [0.0, 0.5, 1.0], {}, 0.25, 0.25),
    ("feedback", [0.0, 0.5], {"range": [0.0, 0.95]}, 1.0, 0.95),
    ("strength", [10, 64, 127], {"range": [0.0, 1.0], "input": [0.0, 127.0]}, 127, 1.0),
    ("guidance", [-0.5, 1.0], {"range": [0.0, 20.0], "input": [-1.0, 1.0]}, 0.0, 10.0),
    ("mode", [0.2], {"range": [0.0, 2.0]}, 1.0, "control"),
    ("freeze", [1], {}, 1, True),
])
def test_the_next_address_is_bound(
    name: str, sent: list[float], keys: dict[str, Any], given: float, value: Any
) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/learn/start", name)
                await one.until(lambda: bool(learning(one)))
                before = one.controls.values[name]
                for number in sent:
                    peer.send("/1/fader3", number)
                peer.send("/1/other", 0.5)
                await one.until(lambda: not learning(one))
                assert one.controls.values[name] == before
                assert lines(one, name) == [{"from": "/1/fader3", "to": name, **keys}]
                assert one.controls.kept["learn"][0].section == "osc"
                peer.send("/1/fader3", given)
                await one.becomes(name, value)
    play(scenario())


@pytest.mark.parametrize(("sent", "line"), [
    ([(1.0,), (0.0,)], {"from": "/1/push"}), ([()], {"from": "/1/push"}),
    ([("b", 1)], {"from": "/1/push", "argument": 1}),
])
def test_an_address_runs_the_command_that_it_has_learned(sent: list[tuple[Any, ...]], line: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/learn/start", "cue/goto Act One")
                await one.until(lambda: bool(learning(one)))
                for arguments in sent:
                    peer.send("/1/push", *arguments)
                await one.until(lambda: not learning(one))
                assert lines(one, "cue/goto") == [{**line, "to": "cue/goto", "with": ["Act One"]}]
                assert one.controls.lists["bindings"][0]["to"] == "cue/goto Act One"
                peer.send("/1/push", *sent[0])
                await one.until(lambda: bool(one.commands))
                assert [(call.name, call.arguments) for call in one.commands] == [("cue/goto", ("Act One",))]
    play(scenario())


def test_bindings_of_the_show_are_changed_and_a_used_address_is_asked_for() -> None:
    async def scenario() -> None:
        async with rig(map=(MapEntry("/1/a", "mix", (0.2, 0.9)),), profiles=("bare",)) as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/learn/range", "mix", 0.0, 0.5)
                peer.send("/lcm/learn/curve", "mix", "exp", "/1/a")
                peer.send("/1/a", 1.0)
                await one.becomes("mix", 0.5)
                assert lines(one, "mix") == [{"from": "/1/a", "to": "mix", "range": [0.0, 0.5], "curve": "exp"}]
                for name, address, other in (("blend", "/strength", "strength"), ("smooth", "/1/a", "mix")):
                    peer.send("/lcm/learn/start", name)
                    await one.until(lambda: learning(one).get("conflict") == "")
                    peer.send(address, 0.7)
                    await one.until(lambda: bool(learning(one).get("conflict")))
                    assert learning(one) == {"to": name, "control": address, "conflict": other}
                peer.send("/lcm/learn/accept", "move")
                await one.until(lambda: not learning(one))
                assert lines(one, "mix") == []
                assert one.controls.values["strength"] == 0.6
                peer.send("/1/a", 1.0)
                await one.becomes("smooth", 0.95)
                peer.send("/lcm/learn/remove", "smooth")
                await one.until(lambda: lines(one, "smooth") == [])
    play(scenario())
