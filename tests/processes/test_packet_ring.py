"""Packets that outlive the desk that has read them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.packet_ring import SIZE, LeftRing, OwnedRing, PacketRing


@pytest.fixture
def make() -> Iterator[Callable[[], OwnedRing]]:
    """Makes a stage's end, and removes it in the end."""
    made: list[OwnedRing] = []

    def one() -> OwnedRing:
        made.append(OwnedRing())
        return made[-1]

    yield one
    for each in made:
        each.close()


Make = Callable[[], OwnedRing]


def left_by(owned: OwnedRing, last_message: int, make: Make) -> list[tuple[str, bytes]]:
    """What the next desk finds."""
    following = PacketRing(make().name)
    following.adopt(LeftRing(owned.name, last_message))
    found = [(each.sender, each.data) for each in following.inherited]
    following.close()
    return found


def test_what_has_reached_the_stage_is_not_left_and_all_else_is(make: Make) -> None:
    owned = make()
    ring = PacketRing(owned.name)
    records = [ring.put("osc", bytes([number])) for number in range(5)]
    ring.finish(records[0])
    ring.release(ring.next_message())  # message 1 was sent
    ring.finish(records[1])
    ring.next_message()  # message 2 was sent; the desk ends before it releases
    ring.finish(records[2])  # its effect waits in the desk
    ring.begin(records[3])
    ring.close()
    assert left_by(owned, 2, make) == [("osc", b"\2"), ("osc", b"\3"), ("osc", b"\4")]
    assert left_by(owned, 1, make)[0] == ("osc", b"\1"), "message 2 did not arrive"
    assert not owned.has_adopted


def test_a_packet_that_ends_two_desks_is_dropped(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = make(), make(), make()
    first, second, third = PacketRing(one.name), PacketRing(two.name), PacketRing(three.name)
    first.put("waits", b"1")
    first.begin(first.put("kills", b"2"))
    second.adopt(LeftRing(one.name))
    assert two.has_adopted
    assert [each.sender for each in second.inherited] == ["waits", "kills"]
    second.begin(second.inherited[1].record)
    third.adopt(LeftRing(two.name))
    assert [each.sender for each in third.inherited] == ["waits"]
    assert "a packet of kills is dropped" in caplog.text
    for ring in (first, second, third):
        ring.close()


def test_a_ring_that_goes_round_keeps_the_order_and_never_holds_more_than_fits(make: Make) -> None:
    owned, chance = make(), random.Random(5)
    ring, waiting, number = PacketRing(owned.name), [], 0
    for _ in range(3000):
        data = chance.randbytes(chance.randrange(0, 4000))
        if record := ring.put(f"10.0.0.{number % 7}:9000", data):
            waiting.append((record, data))
        while waiting and (not record or chance.random() < 0.4):
            ring.finish(waiting.pop(0)[0])
            ring.release(ring.next_message())
            record = 1
    assert [data for _, data in left_by(owned, 10**6, make)] == [data for _, data in waiting]
    assert ring.put("too large", bytes(SIZE)) == 0
    while ring.put("full", bytes(500)):
        number += 1
    assert number < SIZE / 500
    ring.close()


def test_a_torn_block_leaves_nothing(make: Make) -> None:
    owned, chance = make(), random.Random(7)
    for _ in range(50):
        block: Any = owned._owned.memory.buf
        block[:4096] = chance.randbytes(4096)
        left_by(owned, 0, make)  # raises nothing


def test_without_a_ring_before_nothing_is_inherited(make: Make) -> None:
    ring = PacketRing(make().name)
    ring.adopt(LeftRing())
    ring.adopt(LeftRing("lcmd-0-gone", 3))
    assert ring.inherited == []
    ring.close()


def write_for_ever(endpoint: ChildEndpoint, name: str) -> None:
    """Put numbered packets; send each to the stage as a desk does."""
    channel, ring, number = ChildChannel(endpoint), PacketRing(name), 0
    while True:
        record = ring.put("osc", number.to_bytes(4, "big"))
        ring.begin(record)
        ring.finish(record)
        message = ring.next_message()
        channel.send((message, number))
        ring.release(message)
        number += 1


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_none_and_repeats_none(make: Make) -> None:
    for _ in range(4):
        owned = make()
        child = Child("test", write_for_ever, (16, 16), owned.name)
        arrived: list[tuple[int, int]] = []
        while len(arrived) < 300:
            assert child.channel.pipe.poll(20)
            arrived += child.channel.receive()
        os.kill(child.pid or 0, signal.SIGKILL)
        assert child.wait(10)
        with contextlib.suppress(EOFError, OSError):
            while True:
                arrived += child.channel.receive()
        last_message, last = arrived[-1]
        found = [int.from_bytes(data, "big") for _, data in left_by(owned, last_message, make)]
        assert found in ([], [last + 1])
        child.kill()
