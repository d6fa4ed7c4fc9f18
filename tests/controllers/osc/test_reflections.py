"""Peers that send back what they hear, and held buttons, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from lcm_daemon.controllers.osc.options import FixedSubscriber
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.aliases import MapEntry
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.presses import Presses
from lcm_daemon.core.requests import Change
from tests.rigs.osc_peers import LAST, Peer, Rig, connection, play, rig


async def settle(one: Rig) -> None:
    for _ in range(20):
        one.pass_on()
        await asyncio.sleep(0.002)


def test_a_value_that_comes_back_after_a_newer_one_is_no_move() -> None:
    async def scenario() -> None:
        async with rig(feedback_rate=1000, profiles=["bare"]) as one:
            with Peer(one.osc.port) as peer:
                await peer.subscribed(0, 60, "lcm bare")
                await peer.receive_until("/guidance_scale")
                for value in (0.25, 0.875):
                    one.controls.apply_update([Change("strength", value, "panel/1")], None)
                    heard = dict([await peer.receive(), await peer.receive()])
                    assert heard == {"/lcm/strength": value, "/strength": value}
                for address in ("/lcm/strength", "/strength"):
                    for value in (0.25, 0.875):
                        peer.send(address, value)
                await settle(one)
                assert one.origins == []
                assert one.count("osc/reflected") == 4
                peer.send("/lcm/strength", 0.25)
                await one.becomes("strength", 0.25)

    play(scenario())


def test_the_same_holds_over_tcp_and_for_texts() -> None:
    async def scenario() -> None:
        async with rig(tcp=0, feedback_rate=1000) as one, connection(one.osc.tcp_port) as peer:
            peer.send("/lcm/subscribe")
            await peer.receive_until(LAST)
            for text in ("deep blue ocean", "lava"):
                one.controls.apply_update([Change("prompt", text, "panel/1")], None)
                assert await peer.receive() == ("/lcm/prompt", text)
            peer.send("/lcm/prompt", "deep", "blue", "ocean")
            peer.send("/lcm/prompt", "lava")
            await settle(one)
            assert one.origins == []
            peer.send("/lcm/prompt", "lava")
            peer.send("/lcm/prompt", "ink")
            await one.becomes("prompt", "ink")

    play(scenario())


@pytest.mark.slow
def test_a_program_that_sends_from_another_port_ends_where_its_hand_does() -> None:
    """It is sent its own moves. Nothing that it sends back may undo them, and no hand may be taken for an echo."""
    async def scenario(echoes: bool, values: tuple[float, ...]) -> None:
        with Peer(9) as listening:
            feedback = [FixedSubscriber(f"127.0.0.1:{listening.port}")]
            async with rig(feedback=feedback, feedback_rate=1000) as one, asyncio.TaskGroup() as tasks:
                with Peer(one.osc.port) as sending:
                    await listening.receive_until(LAST)

                    async def send_back() -> None:
                        while True:
                            address, value = await listening.receive()
                            await asyncio.sleep(0.03)
                            if echoes:
                                sending.send(address, value)

                    echoing = tasks.create_task(send_back())
                    for value in values:
                        sending.send("/lcm/strength", value)
                        await one.becomes("strength", value)
                    for _ in range(300):
                        one.pass_on()
                        await asyncio.sleep(0.002)
                    assert one.controls.values["strength"] == values[-1]
                    assert len(one.origins) < 6
                    echoing.cancel()

    for echoes in (False, True):
        play(scenario(echoes, (0.25, 0.875)))


def test_a_held_button_is_one_press() -> None:
    async def scenario() -> None:
        time = [0.0]
        entries = [MapEntry("/go", "cue/go"), MapEntry("/flip", "freeze", fixed=("toggle",))]
        async with rig(map=entries) as one:
            one.controls.presses = Presses(lambda: time[0])

            def press(port: int, address: str, values: tuple[Value, ...]) -> None:
                one.osc._handle_message(encode(address, values), Address("127.0.0.1", port))
                one.pass_on()

            for address, values in (
                ("/lcm/cue/go", (1.0,)), ("/go", (1,)), ("/flip", (1.0,)), ("/lcm/freeze", ("toggle",)),
                ("/lcm/tap", ()), ("/lcm/cue/goto", ("storm",)), ("/lcm/cue/record", ("storm",)),
            ):
                before = len(one.commands)
                time[0] += 1.0
                for _ in range(180):  # held for 3 s, at 60 messages a second
                    press(1, address, values)
                    time[0] += 1 / 60
                assert len(one.commands) == before + 1, address
                time[0] += 0.3
                press(1, address, values)
                press(2, address, values)
                assert len(one.commands) == before + 3, address

    play(scenario())


@pytest.mark.parametrize("address", ["/lcm/cue/go", "/go", "/flip"])
def test_a_release_makes_the_next_message_a_press(address: str) -> None:
    async def scenario() -> None:
        entries = [MapEntry("/go", "cue/go"), MapEntry("/flip", "freeze", fixed=("toggle",))]
        async with rig(map=entries) as one:
            one.controls.presses = Presses(lambda: 0.0)
            with Peer(one.osc.port) as peer:
                for value in (1.0, 0.0, 1.0, 1.0, 0, 1.0):
                    peer.send(address, value)
                await settle(one)
                assert len(one.commands) == 3

    play(scenario())


def test_steps_of_a_held_button_all_count() -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.controls.presses = Presses(lambda: 0.0)
            with Peer(one.osc.port) as peer:
                for _ in range(3):
                    peer.send("/lcm/strength", "+", 0.1)
                await settle(one)
                assert [request.name for request in one.commands] == ["adjust"] * 3

    play(scenario())
