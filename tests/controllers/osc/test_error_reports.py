"""`/lcm/error`: to the sender and every subscriber, without circles and floods."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lcm_daemon.controllers.osc.error_reports import MAX_RECENT, REPEAT_SECONDS, ErrorReports
from lcm_daemon.controllers.osc.subscribers import Subscriber, Subscribers
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.refusals import Refusal
from tests.rigs.osc_peers import Peer, rig

ASKER, FRIEND, TOOL = Address("127.0.0.1", 1), Address("10.0.0.2", 2), Address("10.0.0.3", 3)


class Bench:
    """Error reports with two subscribers, of which one receives the addresses of another tool only."""

    def __init__(self) -> None:
        self.sent: list[tuple[Address, str]] = []
        self.time = 0.0
        self.metrics = Metrics()
        self.subscribers = Subscribers(lambda packet, listener: None, self.metrics, 60.0)
        self.subscribers.answer = self._answer  # type: ignore[method-assign]
        self.subscribers.add(FRIEND, Subscriber(FRIEND))
        self.subscribers.add(TOOL, Subscriber(TOOL, ("bare",)))
        self.reports = ErrorReports(self.subscribers, self.metrics, lambda: self.time)

    def _answer(self, listener: Address, address: str, value: Any, key: str = "") -> None:
        self.sent.append((listener, value))


def test_who_receives_a_report() -> None:
    bench = Bench()
    bench.reports.on_refusal(Refusal(f"osc/{ASKER}", "no cue 'x'"))
    assert bench.sent == [(ASKER, "no cue 'x'"), (FRIEND, "no cue 'x'")]
    bench.sent.clear()
    bench.reports.on_refusal(Refusal("midi/pad", "no cue 'x'"))
    assert bench.sent == [(FRIEND, "midi/pad: no cue 'x'")]


def test_the_same_text_is_sent_once_a_second_and_others_at_once() -> None:
    bench = Bench()
    for _ in range(5):
        bench.reports.send("a", ASKER)
        bench.reports.send("b", ASKER)
    assert [text for listener, text in bench.sent if listener == ASKER] == ["a", "b"]
    bench.time = REPEAT_SECONDS
    bench.reports.send("a", ASKER)
    assert bench.sent[-2:] == [(ASKER, "a"), (FRIEND, "a")]


def test_a_flood_of_different_texts_is_limited() -> None:
    bench = Bench()
    for number in range(10_000):
        bench.reports.send(f"wrong {number}", ASKER)
    assert len(bench.sent) == MAX_RECENT
    bench.time = REPEAT_SECONDS
    bench.reports.send("another", ASKER)
    assert bench.sent[-1] == (FRIEND, "another")


def test_an_unknown_address_is_logged_once_with_what_was_meant(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    for _ in range(3):
        bench.reports.on_unknown("/lcm/strenght", ASKER, {"/lcm/strength": 1})
        bench.reports.on_unknown("/tuio/2Dcur", ASKER, {"/lcm/strength": 1})
    assert caplog.messages == [
        "OSC: unknown address '/lcm/strenght' from 127.0.0.1:1; did you mean '/lcm/strength'?",
        "OSC: unknown address '/tuio/2Dcur' from 127.0.0.1:1",
    ]
    assert bench.metrics.counts()["osc/unknown"] == 6
    assert (ASKER, "unknown address /lcm/strenght; did you mean '/lcm/strength'?") in bench.sent


def test_reports_that_come_back_do_not_circle() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                await peer.subscribed()
                peer.send("/lcm/error", "no cue 'x'")
                peer.send("/lcm/status/fps", 30.0)
                assert "/lcm/error" not in await peer.everything()
                assert one.count("osc/reflected") == 2
                assert one.count("osc/unknown") == 0
    asyncio.run(scenario())


def test_sync_comes_back_after_what_came_before() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/strength", 0.25)
                peer.send("/lcm/sync", 7)
                peer.send("/lcm/strength")
                assert (await peer.receive())[0] == "/lcm/strength", "not before the stage has handled it"
                queue = one.controls.pop_requests()
                assert queue.receipt == 1
                one.controls.apply_update(list(queue.changes.values()), None, receipt=queue.receipt)
                assert await peer.receive() == ("/lcm/sync", 7)
    asyncio.run(scenario())
