"""Time tags of bundles: when and in which order messages are handled; wrong clocks and floods do no harm."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable

import pytest

from lcm_daemon.controllers.osc import timetags
from lcm_daemon.controllers.osc.timetags import PlannedMessage, TimetagQueue
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.aliases import MapEntry
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.requests import Change
from tests.rigs.osc_peers import Peer, Rig, pass_time, play, rig

HERE = Address("127.0.0.1", 9)
NOON = 1_800_000_000.0  # seconds since 1970
ROLLOVER_2036 = 2**32 - 2_208_988_800


def tag(unix: float) -> int:
    return int((unix + 2_208_988_800) * 2**32) % 2**64


def bundle(time: float, *inside: bytes) -> bytes:
    elements = b"".join(struct.pack(">i", len(each)) + each for each in inside)
    return b"#bundle\0" + struct.pack(">Q", tag(time)) + elements


class Bench:
    """A queue with a wall clock that does not move, and the messages it has handled."""

    def __init__(
        self, wall: float = NOON, mode: str = "honour", acts: Callable[[bytes], None] = lambda message: None,
        plan: Callable[[bytes], list[PlannedMessage]] | None = None,
    ) -> None:
        self.metrics, self.done, self.wall = Metrics(), list[bytes](), wall
        self._acts = acts
        plan = plan or (lambda message: [PlannedMessage(message, message.decode().split()[:1])])
        self.queue = TimetagQueue(self._handle, self.metrics, lambda: self.wall, mode, plan)

    def _handle(self, message: bytes, source: Address) -> None:
        self._acts(message)
        self.done.append(message)

    async def pass_time(self, seconds: float) -> list[bytes]:
        """Return the messages that are handled in this time."""
        pass_time(seconds)
        self.done.clear()
        for _ in range(3):
            await asyncio.sleep(0)
        return self.done


def test_late_and_immediate_messages_are_due_now() -> None:
    async def scenario() -> None:
        bench = Bench()
        for time in (0, 1, tag(NOON), tag(NOON - 0.001), tag(NOON - 86_400)):
            assert not bench.queue.postpone(b"", time, HERE)
        assert bench.metrics.counts() == {}
    play(scenario())


def test_messages_are_handled_in_the_order_of_their_time() -> None:
    async def scenario() -> None:
        bench = Bench()
        for name, ahead in ((b"c", 3.0), (b"a", 1.0), (b"b", 2.0), (b"d", 3.0)):
            assert bench.queue.postpone(name, tag(NOON + ahead), HERE)
        assert await bench.pass_time(0.9) == []
        assert await bench.pass_time(0.2) == [b"a"]
        assert await bench.pass_time(10.0) == [b"b", b"c", b"d"]
        assert len(bench.queue) == 0
    play(scenario())


def test_messages_of_a_clock_far_ahead_are_due_now(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bench = Bench()
        assert bench.queue.postpone(b"", tag(NOON + timetags.HORIZON - 0.1), HERE)
        for _ in range(1000):
            assert not bench.queue.postpone(b"", tag(NOON + 3600), HERE)
        assert not bench.queue.postpone(b"", 2**64 - 1, HERE)
        assert bench.metrics.counts() == {"osc/bundle/far": 1001}
        bench.queue.clear()
    with caplog.at_level(logging.DEBUG):
        play(scenario())
    assert "is 3600 s ahead" in caplog.text
    assert len(caplog.records) < 14


def test_the_ntp_rollover_of_2036_does_no_harm() -> None:
    async def scenario() -> None:
        bench = Bench(ROLLOVER_2036 - 1.0)
        assert bench.queue.postpone(b"late", tag(ROLLOVER_2036 + 1.0), HERE)
        assert not bench.queue.postpone(b"", tag(ROLLOVER_2036 - 2.0), HERE)
        assert await bench.pass_time(1.9) == []
        assert await bench.pass_time(0.2) == [b"late"]
    play(scenario())


def test_waiting_messages_are_limited() -> None:
    async def scenario() -> None:
        many, large = Bench(), Bench()
        for _ in range(timetags.MAX_WAITING // 2 + 10):
            assert many.queue.postpone(b"", tag(NOON + 1), HERE)
        assert len(many.queue) == timetags.MAX_WAITING // 2
        for _ in range(100):
            large.queue.postpone(b"x" * 60_000, tag(NOON + 1), HERE)
        assert len(large.queue) == timetags.MAX_BYTES // 2 // 60_000
        for sender, queue in (("192.0.2.7", many), ("192.0.2.8", large)):
            before = len(queue.queue)
            assert queue.queue.postpone(b"x", tag(NOON + 1), Address(sender, 5))
            assert len(queue.queue) == before + 1, "a flood leaves room for others"
        assert many.metrics.counts() == {"osc/bundle/dropped": 10}
        large.queue.clear()
        assert large.queue.postpone(b"x" * 60_000, tag(NOON + 1), HERE)
        assert len(large.queue) == 1
        many.queue.clear()
        assert await many.pass_time(2.0) == []
    play(scenario())


def test_a_defect_in_one_message_does_not_keep_the_others_waiting() -> None:
    async def scenario() -> None:
        done: list[bytes] = []

        def handle(message: bytes, source: Address) -> None:
            if message == b"bad":
                raise ZeroDivisionError
            done.append(message)

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        queue = TimetagQueue(handle, Metrics(), lambda: NOON)
        for name in (b"bad", b"good"):
            queue.postpone(name, tag(NOON + 1), HERE)
        pass_time(2.0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert done == [b"good"]
    play(scenario())


OTHER = Address("127.0.0.1", 10)
LEAD = 5.0  # seconds that a wrong clock is ahead


async def send_by_a_wrong_clock(bench: Bench, count: int, lead: float = LEAD) -> list[bool]:
    """Postpone messages 1, 2, ... of HERE, a tenth of a second apart; return which ones wait."""
    waits = []
    for number in range(count):
        waits.append(bench.queue.postpone(b"%d" % (number + 1), tag(bench.wall + lead), HERE))
        pass_time(0.1)
        bench.wall += 0.1
    return waits


def test_auto_takes_a_sender_whose_tags_are_steadily_ahead_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bench = Bench(mode="auto")
        assert await send_by_a_wrong_clock(bench, 6) == [True, True, False, False, False, False]
        assert bench.done == [b"1", b"2"], "what waited is carried out first"
        assert bench.queue.postpone(b"planned", tag(bench.wall + LEAD + 2.0), HERE), "ahead of its own clock"
        assert bench.queue.postpone(b"other", tag(bench.wall + 1.0), OTHER), "another sender has another clock"
        assert await bench.pass_time(1.1) == [b"other"]
        assert await bench.pass_time(1.0) == [b"planned"]
        assert await send_by_a_wrong_clock(bench, 3, lead=0.1) == [True] * 3, "the clock was set"

    play(scenario())
    assert caplog.text.count("steadily 5.0 s ahead") == 1
    assert caplog.text.count("it waits until then") == 2


def test_honour_waits_and_ignore_does_not() -> None:
    async def scenario() -> None:
        for mode, waits in (("honour", True), ("ignore", False)):
            bench = Bench(mode=mode)
            assert await send_by_a_wrong_clock(bench, 5) == [waits] * 5
            bench.queue.clear()

    play(scenario())


@pytest.mark.parametrize("leads", [(1.0, 2.0, 3.0, 4.0, 5.0), (0.3,) * 5, (3.0, 1.0, 3.0, 1.0, 3.0)])
def test_auto_waits_for_a_sender_that_plans(leads: tuple[float, ...]) -> None:
    async def scenario() -> None:
        bench = Bench(mode="auto")
        for lead in leads:
            assert bench.queue.postpone(b"", tag(bench.wall + lead), HERE)
            bench.wall += 0.1
        bench.queue.clear()

    play(scenario())


def test_messages_that_are_planned_at_one_moment_say_nothing_of_the_clock() -> None:
    async def scenario() -> None:
        bench = Bench(mode="auto")
        assert all(bench.queue.postpone(b"", tag(NOON + 2.0), HERE) for _ in range(10))
        bench.queue.clear()

    play(scenario())


def test_a_newer_move_cancels_an_older_one_that_waits() -> None:
    async def scenario() -> None:
        bench = Bench()
        for name, source in ((b"strength", HERE), (b"mix", HERE), (b"strength 2", HERE), (b"strength", OTHER)):
            assert bench.queue.postpone(name, tag(NOON + 1.0), source)
        bench.queue.cancel("strength")
        assert await bench.pass_time(2.0) == [b"mix"]
        assert len(bench.queue) == 0 == bench.queue._bytes

    play(scenario())


def test_messages_that_one_sender_has_planned_do_not_cancel_each_other() -> None:
    async def scenario() -> None:
        bench = Bench(acts=lambda message: bench.queue.cancel(message.split()[0].decode()))
        for name, lead, source in (
            (b"strength 3", 3.0, HERE), (b"strength 1", 1.0, HERE), (b"strength 2", 2.0, OTHER),
            (b"strength 4", 4.0, HERE),
        ):
            assert bench.queue.postpone(name, tag(NOON + lead), source)
        assert await bench.pass_time(1.1) == [b"strength 1"]
        assert await bench.pass_time(1.0) == [b"strength 2"], "newer than 1 and 3, which is cancelled"
        assert await bench.pass_time(3.0) == [b"strength 4"]

    play(scenario())


def test_a_message_for_which_nothing_stands_never_waits() -> None:
    async def scenario() -> None:
        bench = Bench(plan=lambda message: [])
        assert not bench.queue.postpone(b"panic", tag(NOON + 5.0), HERE)

    play(scenario())


def at_noon(one: Rig) -> None:
    one.osc._postponed._wall_clock = lambda: NOON


def test_bundles_over_the_wire() -> None:
    async def scenario() -> None:
        async with rig() as one:
            at_noon(one)
            with Peer(one.osc.port) as peer:
                inner = bundle(NOON + 20, encode("/lcm/steps", [5]))
                peer.send_packet(bundle(NOON + 10, encode("/lcm/seed", [4]), inner))
                peer.send_packet(bundle(NOON - 10, encode("/lcm/mix", [0.5])))
                await one.becomes("mix", 0.5)
                assert len(one.osc._postponed) == 2
                assert one.controls.values["seed"] == 0
                pass_time(10.1)
                await one.becomes("seed", 4)
                assert one.controls.values["steps"] == 2
                pass_time(10.0)
                await one.becomes("steps", 5)
    play(scenario())


def test_a_panic_clears_waiting_messages() -> None:
    async def scenario() -> None:
        async with rig() as one:
            at_noon(one)
            with Peer(one.osc.port) as peer:
                peer.send_packet(bundle(NOON + 10, encode("/lcm/seed", [4])))
                peer.send("/lcm/panic")
                await one.until(lambda: len(one.commands) == 1)
                assert len(one.osc._postponed) == 0
    play(scenario())


def test_a_panic_never_waits() -> None:
    async def scenario() -> None:
        async with rig(map=[MapEntry("/stop", "panic")]) as one:
            at_noon(one)
            with Peer(one.osc.port) as peer:
                inner = bundle(NOON + 10, encode("/lcm/panic", []))
                peer.send_packet(bundle(NOON + 5, encode("/lcm/cue/go", [1.0]), inner))
                await one.until(lambda: len(one.commands) == 1)
                peer.send_packet(bundle(NOON + 5, encode("/stop", [1.0])))
                await one.until(lambda: len(one.commands) == 2)
                assert [request.name for request in one.commands] == ["panic", "panic"]

    play(scenario())


def test_a_newer_move_of_any_controller_cancels_one_that_waits() -> None:
    async def scenario() -> None:
        async with rig() as one:
            at_noon(one)
            with Peer(one.osc.port) as peer, Peer(one.osc.port) as other:
                peer.send_packet(bundle(NOON + 5, encode("/lcm/s{eed,teps,trength,eed_glide}", [1.0]),
                                        encode("/lcm/mix", [0.2])))
                await one.until(lambda: len(one.osc._postponed) == 5)
                other.send("/lcm/strength", 0.25)
                await one.becomes("strength", 0.25)
                one.controls.apply_update([Change("mix", 0.5, "panel/1"), Change("steps", 4, "cue/storm")], None)
                assert len(one.osc._postponed) == 3
                pass_time(5.1)
                await one.becomes("seed", 1)
                assert (one.controls.values["strength"], one.controls.values["mix"]) == (0.25, 0.5)
                assert one.controls.values["steps"] == 1, "a cue cancels nothing that waits for its time"

    play(scenario())


def test_stopping_clears_waiting_messages() -> None:
    async def scenario() -> None:
        async with rig() as one:
            at_noon(one)
            with Peer(one.osc.port) as peer:
                peer.send_packet(bundle(NOON + 10, encode("/lcm/seed", [4])))
                await one.until(lambda: len(one.osc._postponed) == 1)
        assert len(one.osc._postponed) == 0
    play(scenario())
