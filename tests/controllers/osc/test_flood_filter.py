"""FloodFilter: of many senders that flood together only a share passes, and what others send arrives."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from lcm_daemon.controllers.osc import flood_filter, packet_filter
from lcm_daemon.controllers.osc.flood_filter import FloodFilter
from lcm_daemon.controllers.osc.packet_filter import host_key, sender_key
from lcm_daemon.controllers.osc.sender_sockets import ReadTurn
from tests.conftest import ManualClock
from tests.rigs.osc_peers import Peer, rig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no filter for sockets")


@contextlib.contextmanager
def sockets(host: str, number: int) -> Iterator[list[socket.socket]]:
    """A bound socket, and others that send to it."""
    with contextlib.ExitStack() as stack:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = [stack.enter_context(socket.socket(family if place == 0 else socket.AF_INET, socket.SOCK_DGRAM))
                for place in range(number + 1)]
        made[0].setblocking(False)
        if family == socket.AF_INET6:
            made[0].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made[0].bind((host, 0))
        for each in made[1:]:
            each.connect(("127.0.0.1", made[0].getsockname()[1]))
        yield made


def drain(sock: socket.socket, most: int = 256) -> ReadTurn:
    """Read some datagrams; the buffer holds about 256."""
    packets, sizes = Counter[tuple[object, ...]](), Counter[tuple[object, ...]]()
    for _ in range(most):
        try:
            packet, source = sock.recvfrom(65536)
        except BlockingIOError:
            return ReadTurn(False, packets, sizes)
        packets[source] += 1
        sizes[source] += len(packet)
    return ReadTurn(True, packets, sizes)


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_the_kernel_lets_a_share_of_some_senders_pass(host: str) -> None:
    with sockets(host, 200) as (bound, *senders):
        for each in senders:
            each.send(b"hello")
        peers = sorted(drain(bound).packets)
        assert len(peers) == 200
        free, known = peers[7], peers[8]
        packet_filter.attach(bound, packet_filter.program(
            [sender_key(known)], [sender_key(peer) for peer in peers if peer != free], [], 0.0))
        for each in senders:
            each.send(b"hello")
        assert sorted(drain(bound).packets) == [free, known]
        packet_filter.attach(bound, packet_filter.program([], [], [host_key(peers[0])], 0.5))
        for each in senders:
            each.send(b"hello")
        assert 50 < drain(bound).packets.total() < 150
        assert packet_filter.buffer_use(bound).dropped > 50
        packet_filter.detach(bound)
        senders[0].send(b"hello")
        assert drain(bound).packets.total() == 1


def test_a_flood_of_many_is_held_off_and_what_another_sends_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood_filter, "STEP", 0.005)

    async def scenario() -> None:
        dropped: list[int] = []
        with sockets("127.0.0.1", 51) as (bound, honest, *flood):
            held_off = FloodFilter(bound, dropped.append)

            def send_and_read() -> ReadTurn:
                for each in flood:
                    with contextlib.suppress(OSError):
                        for _ in range(24):
                            each.send(bytes(16))
                turn = drain(bound, 64)
                held_off.note(turn)
                return turn
            async with asyncio.timeout(20):
                for _ in range(flood_filter.EVIDENCE // 64):  # of 1,200 that are sent 64 are read
                    assert not held_off.is_on
                    send_and_read()
                assert held_off.is_on
                assert not held_off.passes(flood[0].getsockname()), "what was read before it began is dropped too"
                assert held_off.passes(honest.getsockname())
                while send_and_read().is_more:
                    await asyncio.sleep(0.001)
                for _ in range(20):
                    send_and_read()
                    honest.send(b"honest")
                    assert honest.getsockname() in drain(bound).packets
                    await asyncio.sleep(0.001)
                assert sum(dropped) > 1000
                while held_off.is_on:  # the flood is over
                    await asyncio.sleep(0.005)
            flood[0].send(b"welcome")
            assert drain(bound).packets.total() == 1
            held_off.close()
    asyncio.run(scenario())


def test_of_a_machine_that_sends_from_ever_new_ports_known_senders_are_heard(clock: ManualClock) -> None:
    async def scenario() -> None:
        with sockets("127.0.0.1", 2) as (bound, known, unknown):
            held_off = FloodFilter(bound, lambda number: None, clock.now)
            for _ in range(2):
                known.send(b"before")
                held_off.note(drain(bound))
                clock.sleep(flood_filter.KNOWN_AFTER)
            port = 20_000
            for _ in range(flood_filter.FULL_TURNS):
                new = Counter({("127.0.0.1", port + number): 1 for number in range(256)} | {known.getsockname(): 3})
                port += 256
                for _ in range(600):
                    with contextlib.suppress(OSError):
                        unknown.send(bytes(16))
                held_off.note(ReadTurn(True, new, Counter(dict.fromkeys(new, 16))))
            assert held_off.is_on
            drain(bound)
            while drain(bound).packets:
                pass
            for _ in range(20):
                known.send(b"known")
                unknown.send(b"unknown")
            found = drain(bound).packets
            assert found[known.getsockname()] == 20
            assert found[unknown.getsockname()] < 10
            held_off.close()
    asyncio.run(scenario())


def test_a_filter_of_the_desk_before_is_taken_off() -> None:
    with sockets("127.0.0.1", 1) as (bound, sender):
        packet_filter.attach(bound, packet_filter.program([], [], [host_key(("127.0.0.1", 1))], 0.0))
        FloodFilter(bound, lambda number: None)
        sender.send(b"hello")
        assert drain(bound).packets.total() == 1


def test_a_burst_is_no_flood() -> None:
    async def scenario() -> None:
        async with rig() as one:
            with contextlib.ExitStack() as stack:
                peers = [stack.enter_context(Peer(one.osc.port)) for _ in range(20)]
                for number in range(20):
                    for peer in peers:
                        peer.send("/lcm/seed", number)
                await one.until(lambda: one.count("osc/packets") == 400)
                assert not one.osc._sockets[0]._filter.is_on
    asyncio.run(scenario())


def test_a_port_without_a_flood_is_not_asked_for_its_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sock: socket.socket) -> packet_filter.BufferUse:
        raise AssertionError
    monkeypatch.setattr(packet_filter, "buffer_use", fail)

    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as peer:
                peer.send("/lcm/seed", 5)
                await one.becomes("seed", 5)
    asyncio.run(scenario())
