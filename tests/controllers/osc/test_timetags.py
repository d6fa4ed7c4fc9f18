"""Time tags of bundles: when and in which order messages are handled; wrong clocks and floods do no harm."""

from __future__ import annotations

import asyncio
import logging
import struct

import pytest

from lcm_daemon.controllers.osc import timetags
from lcm_daemon.controllers.osc.timetags import TimetagQueue
from lcm_daemon.controllers.osc.udp import Address
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.metrics import Metrics
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

    def __init__(self, wall: float = NOON) -> None:
        self.metrics, self.done = Metrics(), []
        self.queue = TimetagQueue(lambda message, _: self.done.append(message), self.metrics, lambda: wall)

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
    assert len(caplog.records) < 12


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
        for _ in range(timetags.MAX_WAITING + 10):
            assert many.queue.postpone(b"", tag(NOON + 1), HERE)
        assert len(many.queue) == timetags.MAX_WAITING
        for _ in range(100):
            large.queue.postpone(b"x" * 60_000, tag(NOON + 1), HERE)
        assert len(large.queue) == timetags.MAX_BYTES // 60_000
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


def test_stopping_clears_waiting_messages() -> None:
    async def scenario() -> None:
        async with rig() as one:
            at_noon(one)
            with Peer(one.osc.port) as peer:
                peer.send_packet(bundle(NOON + 10, encode("/lcm/seed", [4])))
                await one.until(lambda: len(one.osc._postponed) == 1)
        assert len(one.osc._postponed) == 0
    play(scenario())
