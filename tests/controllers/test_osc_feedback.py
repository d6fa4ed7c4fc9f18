"""Feedback over real sockets: who is told of what, and who is not."""

from __future__ import annotations

import asyncio

import pytest

from lcm_daemon.board import Change
from lcm_daemon.controllers import osc_feedback
from lcm_daemon.parameters import TABLE

from .osc_peers import Peer, rig

# Questions

def test_a_question_is_answered_to_the_asker_and_to_subscribers_on_its_host() -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.board.hear([], {"fps": 30.0})
            with Peer(one.osc.port) as asker, Peer(one.osc.port) as subscriber:
                await subscriber.subscribed()
                await subscriber.receive_until("/lcm/status/fps")
                for question, answer in (
                    (("/lcm/strength",), ("/lcm/strength", pytest.approx(0.6))),
                    (("/lcm/get", "seed"), ("/lcm/seed", 0)),
                    (("/lcm/fr*",), ("/lcm/freeze", 0)),
                    (("/lcm/get", "status/fps"), ("/lcm/status/fps", 30.0)),
                ):
                    asker.send(*question)
                    assert await asker.receive() == answer
                    assert await subscriber.receive() == answer
                asker.send("/lcm/get")
                heard = await asker.receive_until("/lcm/status/fps")
                assert heard.keys() == {*(f"/lcm/{name}" for name in TABLE), "/lcm/status/fps"}
                asker.send("/lcm/get", "no\nbody")
                await one.until(lambda: one.count("osc/unknown") == 1)
    asyncio.run(scenario())


def test_a_flood_of_questions_is_one_answer() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as asker:
                for _ in range(200):
                    asker.send("/lcm/get")
                asker.send("/lcm/seed", 5)
                await one.becomes("seed", 5)
                asker.send("/lcm/seed")
                answers = 0
                while (await asker.receive()) != ("/lcm/seed", 5):
                    answers += 1
                assert answers < 200 * len(TABLE) / 10
    asyncio.run(scenario())


# Subscribers

def test_a_subscriber_hears_everything_at_once_and_then_every_change() -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.board.hear([], {"fps": 29.5, "engine": "running", "frozen": False})
            with Peer(one.osc.port) as subscriber, Peer(one.osc.port) as player:
                player.send("/lcm/subscribe", subscriber.port)
                heard = await subscriber.receive_until("/lcm/status/frozen")
                assert heard.keys() == {*(f"/lcm/{n}" for n in TABLE), *(f"/lcm/status/{n}" for n in one.board.status)}
                assert heard["/lcm/prompt"] == "clouds"
                assert heard["/lcm/freeze"] == 0
                assert heard["/lcm/status/engine"] == "running"
                one.board.hear([Change("seed", 2**32 - 1, "panel/1")], None)
                assert await subscriber.receive() == ("/lcm/seed", 2**32 - 1)
                one.board.hear([], {"fps": 30.0, "engine": "running", "frozen": False})
                assert await subscriber.receive() == ("/lcm/status/fps", 30.0)
                one.board.hear([], {"fps": 30.0, "engine": "starting", "frozen": True})
                assert await subscriber.receive() == ("/lcm/status/engine", "starting")
                assert await subscriber.receive() == ("/lcm/status/frozen", 1)
    asyncio.run(scenario())


def test_the_show_names_subscribers() -> None:
    async def scenario() -> None:
        with Peer(9) as listed:
            async with rig(feedback=(f"127.0.0.1:{listed.port}",)) as one:
                await listed.receive_until("/lcm/freeze")
                one.board.hear([Change("steps", 5, "panel/1")], None)
                assert await listed.receive() == ("/lcm/steps", 5)
    asyncio.run(scenario())


@pytest.mark.parametrize("form", ["{0}", "{0}.0", "127.0.0.1:{0}", "localhost:{0}"])
def test_ways_to_name_a_subscriber(form: str) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as subscriber:
                subscriber.send("/lcm/subscribe", form.format(subscriber.port))
                await subscriber.receive_until("/lcm/freeze")
                subscriber.send("/lcm/subscribe", float(subscriber.port))  # again changes nothing, and tells all anew
                await subscriber.receive_until("/lcm/freeze")
                one.board.hear([Change("steps", 5, "panel/1")], None)
                assert await subscriber.receive() == ("/lcm/steps", 5)
                subscriber.send("/lcm/unsubscribe", form.format(subscriber.port))
                subscriber.send("/lcm/seed", 1)
                await one.becomes("seed", 1)
                one.board.hear([Change("steps", 6, "panel/1")], None)
                subscriber.send("/lcm/mix")
                assert await subscriber.receive() == ("/lcm/mix", 1.0)
    asyncio.run(scenario())


def test_subscriptions_refused() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                bad = ["10.0.0.1:9001", "example.org:9001", "127.0.0.2:9001", "x", "", 0, -1, 65536, 1.5,
                       float("nan"), float("inf"), True, "9" * 70, one.osc.port]
                for value in bad:
                    peer.send("/lcm/subscribe", value)
                await one.until(lambda: one.count("osc/refused") == len(bad))
                one.board.hear([Change("steps", 5, "panel/1")], None)
                peer.send("/lcm/steps")
                assert await peer.receive() == ("/lcm/steps", 5)
    asyncio.run(scenario())


def test_the_number_of_subscribers_is_limited() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer, Peer(one.osc.port) as late:
                for port in range(20000, 20000 + osc_feedback.SUBSCRIBERS + 3):
                    peer.send("/lcm/subscribe", port)
                await one.until(lambda: one.count("osc/refused") == 3)
                late.send("/lcm/subscribe")
                await one.until(lambda: one.count("osc/refused") == 4)
                peer.send("/lcm/unsubscribe", 20000)
                await late.subscribed()
    asyncio.run(scenario())


# Echo: every change, whoever made it, to every subscriber but its sender

def test_no_echo_to_the_socket_a_change_came_from() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as first, Peer(one.osc.port) as second:
                await first.subscribed()
                await second.subscribed(second.port)
                first.send("/lcm/steps", 5)
                await one.becomes("steps", 5)
                second.send("/lcm/seed", 7)
                await one.becomes("seed", 7)
                assert await second.receive() == ("/lcm/steps", 5)
                assert await first.receive() == ("/lcm/seed", 7)  # and not its own steps before
                one.board.hear([Change("mix", 0.5, "panel/1")], None)
                assert await first.receive() == ("/lcm/mix", 0.5)
                assert await second.receive() == ("/lcm/mix", 0.5)  # and not its own seed before
    asyncio.run(scenario())


def test_no_echo_to_a_subscriber_that_sends_from_another_socket_than_it_listens_on() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as hand, Peer(one.osc.port) as ear, Peer(one.osc.port) as stranger:
                hand.send("/lcm/subscribe", ear.port)
                await ear.receive_until("/lcm/freeze")
                hand.send("/lcm/steps", 5)
                await one.becomes("steps", 5)
                assert one.origins == [f"osc/127.0.0.1:{ear.port}"]
                ear.send("/lcm/mix", 0.5)
                await one.becomes("mix", 0.5)
                stranger.send("/lcm/seed", 7)  # from the same host, but nobody's
                await one.becomes("seed", 7)
                assert await ear.receive() == ("/lcm/seed", 7)
    asyncio.run(scenario())


def test_a_subscriber_of_the_show_is_known_by_its_sending_socket_once_it_subscribes() -> None:
    async def scenario() -> None:
        with Peer(9) as ear:
            async with rig(feedback=(f"127.0.0.1:{ear.port}",)) as one:
                await ear.receive_until("/lcm/freeze")
                with Peer(one.osc.port) as hand:
                    hand.send("/lcm/steps", 5)
                    await one.becomes("steps", 5)
                    assert await ear.receive() == ("/lcm/steps", 5)
                    hand.send("/lcm/subscribe", ear.port)
                    await ear.receive_until("/lcm/freeze")
                    hand.send("/lcm/steps", 6)
                    await one.becomes("steps", 6)
                    one.board.hear([Change("seed", 1, "panel/1")], None)
                    assert await ear.receive() == ("/lcm/seed", 1)
    asyncio.run(scenario())


def test_a_value_that_waits_is_overtaken_even_by_the_subscribers_own() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as first:
                await first.subscribed()
                one.board.hear([Change("steps", 5, "panel/1")], None)
                one.board.hear([Change("steps", 3, f"osc/127.0.0.1:{first.port}")], None)
                assert await first.receive() == ("/lcm/steps", 3)  # not 5, which is over
    asyncio.run(scenario())


def test_changes_to_a_subscriber_coalesce() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as first:
                await first.subscribed()
                for seed in range(1, 1001):
                    one.board.hear([Change("seed", seed, "panel/1")], None)
                assert await first.receive() == ("/lcm/seed", 1000)
    asyncio.run(scenario())
