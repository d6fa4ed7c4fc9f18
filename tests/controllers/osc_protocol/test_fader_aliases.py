"""Addresses of faders over real sockets: 0 to 1 is the whole range of a parameter of any kind but text."""

from __future__ import annotations

import asyncio

import pytest

from lcm_daemon.controllers.osc_protocol.fader_aliases import fader_aliases
from lcm_daemon.core.osc_names import FADER
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Value
from tests.rigs.osc_peers import Peer, rig


def test_every_parameter_but_texts_has_one() -> None:
    assert {alias.to for (alias,) in fader_aliases(TABLE).values()} == {
        name for name, parameter in TABLE.items() if parameter.kind != "text"}


@pytest.mark.parametrize("name", [name for name, parameter in TABLE.items() if parameter.kind in ("float", "int")])
def test_its_ends_are_those_of_the_range(name: str) -> None:
    (alias,) = fader_aliases(TABLE)[FADER + name]
    for position, value in ((0.0, TABLE[name].low), (1.0, TABLE[name].high), (-1.0, TABLE[name].low)):
        (read,) = alias.read([position]) or ()
        assert TABLE[name].coerce(read) == value


def test_a_logarithmic_one_is_finer_near_its_low_end() -> None:
    (alias,) = fader_aliases(TABLE)[FADER + "prompt_glide"]
    (read,) = alias.read([0.5]) or ()
    assert read < TABLE["prompt_glide"].high / 4


@pytest.mark.parametrize(("position", "name", "value"), [
    (0.25, "strength", 0.25), (1.0, "steps", 8), (1, "steps", 8), (0.5, "mode", "text"),
    (1.0, "freeze", True), (0.75, "mix", 0.75), (True, "blackout", True),
])
def test_a_message_sets_the_parameter(position: Value, name: str, value: Value) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send(FADER + name, position)
                await one.becomes(name, value)
    asyncio.run(scenario())


def test_a_question_is_answered_with_the_position_and_text_is_refused() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send(FADER + "steps", 1.0)
                await one.becomes("steps", 8)
                peer.send(FADER + "steps")
                assert await peer.receive() == (FADER + "steps", 1.0)
                peer.send(FADER + "steps", "many")
                await one.until(lambda: one.count("osc/refused") == 1)
    asyncio.run(scenario())
