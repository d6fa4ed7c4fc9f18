"""Feedback over real sockets: what each subscriber receives."""

from __future__ import annotations

import asyncio

import pytest

from lcm_daemon.controllers.osc import subscribers
from lcm_daemon.controllers.osc.options import FixedSubscriber
from lcm_daemon.controllers.osc.subscribers import Subscriber, Subscribers
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.aliases import MapEntry
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import Change
from tests.rigs.osc_peers import LAST, Peer, connection, pass_time, play, rig

# Questions

def test_a_reply_goes_to_the_asker_and_to_subscribers_on_its_host() -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.controls.apply_update([], {"fps": 30.0})
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


def test_a_flood_of_questions_gets_one_reply() -> None:
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

def test_a_subscriber_receives_all_values_and_then_every_change() -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.controls.apply_update([], {"fps": 29.5, "engine": "running", "frozen": False})
            with Peer(one.osc.port) as subscriber, Peer(one.osc.port) as player:
                player.send("/lcm/subscribe", subscriber.port)
                heard = await subscriber.receive_until("/lcm/status/frozen")
                status = {f"/lcm/status/{n}" for n in one.controls.status}
                assert heard.keys() == {f"/lcm/{n}" for n in TABLE} | status
                assert heard["/lcm/prompt"] == "clouds"
                assert heard["/lcm/freeze"] == 0
                assert heard["/lcm/status/engine"] == "running"
                one.controls.apply_update([Change("seed", 2**32 - 1, "panel/1")], None)
                assert await subscriber.receive() == ("/lcm/seed", 2**32 - 1)
                one.controls.apply_update([], {"fps": 30.0, "engine": "running", "frozen": False})
                assert await subscriber.receive() == ("/lcm/status/fps", 30.0)
                one.controls.apply_update([], {"fps": 30.0, "engine": "starting", "frozen": True})
                assert await subscriber.receive() == ("/lcm/status/engine", "starting")
                assert await subscriber.receive() == ("/lcm/status/frozen", 1)
    asyncio.run(scenario())


def test_the_show_names_subscribers() -> None:
    async def scenario() -> None:
        with Peer(9) as listed:
            async with rig(feedback=(FixedSubscriber(f"127.0.0.1:{listed.port}"),)) as one:
                await listed.receive_until(LAST)
                one.controls.apply_update([Change("steps", 5, "panel/1")], None)
                assert await listed.receive() == ("/lcm/steps", 5)
    asyncio.run(scenario())


@pytest.mark.parametrize("form", ["{0}", "{0}.0", "127.0.0.1:{0}", "localhost:{0}"])
def test_forms_of_a_subscription(form: str) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as subscriber:
                subscriber.send("/lcm/subscribe", form.format(subscriber.port))
                await subscriber.receive_until(LAST)
                subscriber.send("/lcm/subscribe", float(subscriber.port))  # again changes nothing, and tells all anew
                await subscriber.receive_until(LAST)
                one.controls.apply_update([Change("steps", 5, "panel/1")], None)
                assert await subscriber.receive() == ("/lcm/steps", 5)
                subscriber.send("/lcm/unsubscribe", form.format(subscriber.port))
                subscriber.send("/lcm/seed", 1)
                await one.becomes("seed", 1)
                one.controls.apply_update([Change("steps", 6, "panel/1")], None)
                subscriber.send("/lcm/mix")
                assert await subscriber.receive() == ("/lcm/mix", 1.0)
    asyncio.run(scenario())


def test_invalid_subscriptions_are_refused() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                bad = ["10.0.0.1:9001", "example.org:9001", "127.0.0.2:9001", "x", "", 0, -1, 65536, 1.5,
                       float("nan"), float("inf"), True, "9" * 70, one.osc.port]
                for value in bad:
                    peer.send("/lcm/subscribe", value)
                await one.until(lambda: one.count("osc/refused") == len(bad))
                one.controls.apply_update([Change("steps", 5, "panel/1")], None)
                peer.send("/lcm/steps")
                assert (await peer.receive_until("/lcm/steps")).keys() == {"/lcm/error", "/lcm/steps"}
    asyncio.run(scenario())


def test_the_number_of_subscribers_is_limited() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer, Peer(one.osc.port) as late:
                for port in range(20000, 20000 + subscribers.MAX_SUBSCRIBERS + 3):
                    peer.send("/lcm/subscribe", port)
                await one.until(lambda: one.count("osc/refused") == 3)
                late.send("/lcm/subscribe")
                await one.until(lambda: one.count("osc/refused") == 4)
                peer.send("/lcm/unsubscribe", 20000)
                await late.subscribed()
    asyncio.run(scenario())


def test_a_subscription_expires_unless_it_is_renewed() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as short, Peer(one.osc.port) as standard, Peer(one.osc.port) as renewed:
                await short.subscribed(0, 5)
                await standard.subscribed(standard.port)
                await renewed.subscribed(0, 1e9)
                assert len(one.controls.kept["osc"]) == 3
                pass_time(4.0)
                await one.until(lambda: len(one.controls.kept["osc"]) == 3)
                pass_time(2.0)
                await one.until(lambda: len(one.controls.kept["osc"]) == 2)
                pass_time(subscribers.DEFAULT_LIFETIME - 7.0)
                await renewed.subscribed(0, subscribers.DEFAULT_LIFETIME)
                pass_time(2.0)
                await one.until(lambda: len(one.controls.kept["osc"]) == 1)
                assert one.count("osc/feedback/expired") == 2
                one.controls.apply_update([Change("steps", 5, "panel/1")], None)
                assert await renewed.receive() == ("/lcm/steps", 5)
                assert (await short.everything()).keys() == (await standard.everything()).keys() == {"/lcm/mix"}
    play(scenario())


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "long"])
def test_an_invalid_lifetime_is_refused(seconds: float | str) -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/subscribe", 0, seconds)
                await one.until(lambda: one.count("osc/refused") == 1)
                assert (await peer.everything()).keys() == {"/lcm/error", "/lcm/mix"}
    asyncio.run(scenario())


def test_a_subscription_of_the_show_does_not_expire_and_keeps_its_namespaces() -> None:
    async def scenario() -> None:
        with Peer(9) as listed:
            fader = MapEntry("/1/fader1", "steps", (1.0, 8.0))
            async with rig(feedback=(FixedSubscriber(f"127.0.0.1:{listed.port}", ("map",)),), map=(fader,)) as one:
                assert await listed.receive() == ("/1/fader1", pytest.approx(1 / 7))
                with Peer(one.osc.port) as sender:
                    sender.send("/lcm/subscribe", listed.port, 5)  # a renewal changes neither
                    assert await listed.receive() == ("/1/fader1", pytest.approx(1 / 7))
                pass_time(1e6)
                await asyncio.sleep(0)
                one.controls.apply_update([Change("seed", 5, "panel/1"), Change("steps", 8, "panel/1")], None)
                assert await listed.receive() == ("/1/fader1", 1.0)
    play(scenario())


def test_a_subscriber_chooses_its_namespaces() -> None:
    async def scenario() -> None:
        async with rig(profiles=("bare", "scope")) as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/subscribe", 0, 60, "scope  lcm")
                heard = await peer.receive_until(LAST)
                assert {"/scope/prompt", "/scope/noise_scale", "/scope/paused", "/lcm/prompt"} <= heard.keys()
                assert "/prompt" not in heard
                for words in ("", "map streamdiffusiontd", 3):
                    peer.send("/lcm/subscribe", 0, 60, words)
                await one.until(lambda: one.count("osc/refused") == 3)
    asyncio.run(scenario())


def test_a_subscription_over_tcp_lasts_as_long_as_its_connection() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one:
            async with connection(one.osc.tcp_port) as peer:
                peer.send("/lcm/subscribe")
                await peer.receive_until(LAST)
                pass_time(1e6)
                peer.send("/lcm/steps", 5)
                await one.becomes("steps", 5)
                one.controls.apply_update([Change("seed", 7, "panel/1")], None)
                assert await peer.receive() == ("/lcm/seed", 7)  # and not its own steps before
                assert one.controls.kept["osc"] == {}  # the next desk has no such connection
            with Peer(one.osc.port) as other:
                await other.subscribed()
                await one.until(lambda: len(one.osc._subscribers) == 1)
    play(scenario())


def test_feedback_is_rate_limited() -> None:
    async def scenario() -> None:
        async with rig(feedback_rate=1.0) as one:
            with Peer(one.osc.port) as peer:
                await peer.subscribed()
                for seed in range(1, 50):
                    one.controls.apply_update([Change("seed", seed, "panel/1")], None)
                    await asyncio.sleep(0.001)
                pass_time(1.0)
                assert await peer.receive() == ("/lcm/seed", 49)  # one message for them all, a second after the last
    play(scenario())


# Echo: every change, from any source, to every subscriber but its sender

def test_no_echo_to_the_socket_of_a_change() -> None:
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
                one.controls.apply_update([Change("mix", 0.5, "panel/1")], None)
                assert await first.receive() == ("/lcm/mix", 0.5)
                assert await second.receive() == ("/lcm/mix", 0.5)  # and not its own seed before
    asyncio.run(scenario())


def test_no_echo_to_a_subscriber_with_separate_sockets() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as sender, Peer(one.osc.port) as receiver, Peer(one.osc.port) as stranger:
                sender.send("/lcm/subscribe", receiver.port)
                await receiver.receive_until(LAST)
                sender.send("/lcm/steps", 5)
                await one.becomes("steps", 5)
                assert one.origins == [f"osc/127.0.0.1:{receiver.port}"]
                receiver.send("/lcm/mix", 0.5)
                await one.becomes("mix", 0.5)
                stranger.send("/lcm/seed", 7)  # from the same host, but not from a subscriber
                await one.becomes("seed", 7)
                assert await receiver.receive() == ("/lcm/seed", 7)
    asyncio.run(scenario())


def test_a_subscriber_of_the_show_is_known_by_its_sending_socket_after_it_subscribes() -> None:
    async def scenario() -> None:
        with Peer(9) as receiver:
            async with rig(feedback=(FixedSubscriber(f"127.0.0.1:{receiver.port}"),)) as one:
                await receiver.receive_until(LAST)
                with Peer(one.osc.port) as sender:
                    sender.send("/lcm/steps", 5)
                    await one.becomes("steps", 5)
                    assert await receiver.receive() == ("/lcm/steps", 5)
                    sender.send("/lcm/subscribe", receiver.port)
                    await receiver.receive_until(LAST)
                    sender.send("/lcm/steps", 6)
                    await one.becomes("steps", 6)
                    one.controls.apply_update([Change("seed", 1, "panel/1")], None)
                    assert await receiver.receive() == ("/lcm/seed", 1)
    asyncio.run(scenario())


def test_a_waiting_value_is_replaced_even_by_the_subscribers_own() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as first:
                await first.subscribed()
                one.controls.apply_update([Change("steps", 5, "panel/1")], None)
                one.controls.apply_update([Change("steps", 3, f"osc/127.0.0.1:{first.port}")], None)
                assert await first.receive() == ("/lcm/steps", 3)  # not 5, which is over
    asyncio.run(scenario())


def test_changes_to_a_subscriber_coalesce() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as first:
                await first.subscribed()
                for seed in range(1, 1001):
                    one.controls.apply_update([Change("seed", seed, "panel/1")], None)
                assert await first.receive() == ("/lcm/seed", 1000)
    asyncio.run(scenario())


def test_live_reports_follow_a_fade_and_spare_the_peer_that_began_it() -> None:
    async def scenario() -> None:
        async with rig(report="live", feedback_rate=1000) as one:
            with Peer(one.osc.port) as mover, Peer(one.osc.port) as other:
                await mover.subscribed()
                await other.subscribed()
                origin = f"osc/127.0.0.1:{mover.port}"
                for value in (0.6, 0.7, 0.8):
                    moving = MovingValues({"strength": value}, {"strength": value})
                    changes = [Change("strength", 0.9, origin)] if value == 0.6 else []
                    one.controls.apply_update(changes, None, moving=moving)
                    assert await other.receive() == ("/lcm/strength", pytest.approx(value))
                one.controls.apply_update([], None, moving=MovingValues())
                for peer in (other, mover):
                    assert await peer.receive() == ("/lcm/strength", pytest.approx(0.9))

    play(scenario())


def test_target_reports_send_what_a_value_fades_to() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                await peer.subscribed()
                assert not one.controls.wants_moving
                moving = MovingValues({}, {"strength": 0.6})
                one.controls.apply_update([Change("strength", 0.9, "page")], None, moving=moving)
                assert await peer.everything() == {"/lcm/strength": pytest.approx(0.9), "/lcm/mix": 1.0}

    play(scenario())


def test_one_host_leaves_room_for_others_and_the_network_for_this_machine() -> None:
    async def scenario() -> None:
        known = Subscribers(lambda packet, listener: None, Metrics(), 30.0)

        def taken(host: str) -> int:
            found = [Address(host, 9000 + number) for number in range(100)]
            return sum(known.add(each, Subscriber(each, seconds=60.0)) for each in found)

        assert taken("192.0.2.1") == subscribers.MAX_OF_HOST
        assert sum(taken(f"192.0.2.{number}") for number in range(2, 9)) == (
            subscribers.MAX_SUBSCRIBERS - subscribers.KEPT_HERE - subscribers.MAX_OF_HOST)
        assert taken("127.0.0.1") == subscribers.KEPT_HERE
        known.close()

    asyncio.run(scenario())
