"""OSC over TCP: packets in both directions; one connection does no harm to the others."""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess

import pytest
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc import tcp
from lcm_daemon.controllers.osc.framing import SlipFraming
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.requests import Change
from lcm_daemon.web import seats
from tests.conftest import need, need_module
from tests.rigs.osc_peers import LAST, PATIENCE, Peer, connection, rig


def test_packets_set_values_and_ask() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            peer.send("/lcm/prompt", "lava, glowing red")
            await one.becomes("prompt", "lava, glowing red")
            assert one.origins == [f"osc/tcp/127.0.0.1:{peer.port}"]
            peer.send("/lcm/strength")
            assert await peer.receive() == ("/lcm/strength", pytest.approx(0.6))
            packet = encode("/lcm/seed", [5])
            for byte in len(packet).to_bytes(4, "big") + packet:  # in as many pieces as there are bytes
                peer.writer.write(bytes([byte]))
                await peer.writer.drain()
                await asyncio.sleep(0)
            await one.becomes("seed", 5)
    asyncio.run(scenario())


@pytest.mark.slow
def test_slip_is_answered_by_slip() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as sized:
            reader, writer = await asyncio.open_connection("127.0.0.1", one.osc.tcp_port)
            slip = SlipFraming()
            for packet in (encode("/lcm/seed", [192]), encode("/lcm/subscribe", [])):
                writer.write(slip.write(packet))
            await one.becomes("seed", 192)
            async with asyncio.timeout(PATIENCE):
                while OscMessage(await slip.read(reader)).address != LAST:
                    pass
                sized.send("/lcm/seed", 219)
                await one.becomes("seed", 219)
                while OscMessage(await slip.read(reader)).params != [219]:
                    pass
            sized.send("/lcm/seed")
            assert await sized.receive() == ("/lcm/seed", 219)
            writer.transport.abort()
    asyncio.run(scenario())


def test_a_connection_and_a_socket_with_one_port_are_distinct() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            peer.send("/lcm/subscribe")
            await peer.receive_until(LAST)
            one.controls.apply_update([Change("seed", 7, f"osc/127.0.0.1:{peer.port}")], None)
            assert await peer.receive() == ("/lcm/seed", 7)
    asyncio.run(scenario())


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\1\0\4"])
def test_an_impossible_size_closes_the_connection(head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer, connection(one.osc.tcp_port) as other:
            peer.writer.write(head)
            assert await peer.ended()
            assert one.count("osc/malformed") == 1
            other.send("/lcm/seed", 5)
            await one.becomes("seed", 5)
    asyncio.run(scenario())
    assert "the connection is closed. Each packet" in caplog.text


def test_a_malformed_packet_is_ignored() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            peer.send_packet(b"#bundle\0\0\0\0\0\0\0\0\1\xff\xff\xff\xfc")
            peer.send("/lcm/seed", 5)
            await one.becomes("seed", 5)
            assert one.count("osc/malformed") == 1
    asyncio.run(scenario())


def test_a_defect_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            monkeypatch.setattr(one.controls, "command", lambda *_: 1 // 0)
            peer.send("/lcm/panic")
            assert await peer.ended()
            assert one.count("osc/failed") == 1
            async with connection(one.osc.tcp_port) as other:
                other.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
    asyncio.run(scenario())


def test_a_host_that_is_not_allowed_is_not_connected() -> None:
    async def scenario() -> None:
        async with rig(tcp=0, allow=("127.0.0.2/32",)) as one:
            async with connection(one.osc.tcp_port) as stranger:
                stranger.send("/lcm/seed", 4)
                assert await stranger.ended()
            assert one.count("osc/denied") == 1
            async with connection(one.osc.tcp_port, "127.0.0.2") as friend:
                friend.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
    asyncio.run(scenario())


def test_the_number_of_connections_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(seats, "SILENT_SECONDS", math.inf)

    async def scenario() -> None:
        async with rig(tcp=0) as one:
            async with connection(one.osc.tcp_port) as first:
                first.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
                async with connection(one.osc.tcp_port) as second:
                    second.send("/lcm/seed", 5)
                    assert await second.ended()
            await one.until(lambda: not one.osc._tcp._writers)
            async with connection(one.osc.tcp_port) as third:
                third.send("/lcm/seed", 4)
                await one.becomes("seed", 4)
            assert one.count("osc/refused") == 1
    asyncio.run(scenario())


def test_a_connection_that_is_silent_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(seats, "SILENT_SECONDS", 0.0)

    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as first, connection(one.osc.tcp_port) as second:
            first.send("/lcm/seed", 2)
            await one.becomes("seed", 2)
            second.send("/lcm/seed", 3)
            assert await first.ended()
            await one.becomes("seed", 3)
            assert one.count("osc/tcp/idle") == 1
    asyncio.run(scenario())


@pytest.mark.parametrize("beginning", [b"\0\0\0\x08/lcm", b"/lcm", b"\xc0/lcm"])
def test_a_packet_that_does_not_end_closes_the_connection(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "PACKET_SECONDS", 0.05)

    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            peer.writer.write(beginning)
            assert await peer.ended()
    asyncio.run(scenario())


def test_a_connection_that_does_not_read_is_closed() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            peer.send("/lcm/subscribe")
            await peer.receive_until(LAST)
            peer.writer.transport.pause_reading()
            packet = encode("/lcm/prompt", ["x" * 60_000])
            (subscriber,) = one.osc._subscribers.by_listener()
            async with asyncio.timeout(PATIENCE):
                while not one.count("osc/tcp/slow"):  # until the system's own buffers are full
                    one.osc._transmit(packet, subscriber)
                    await asyncio.sleep(0)
            await one.until(lambda: len(one.osc._subscribers) == 0)
    asyncio.run(scenario())


@pytest.mark.slow
def test_a_flood_lets_other_packets_in_between() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one, connection(one.osc.tcp_port) as peer:
            with Peer(one.osc.port) as udp:
                peer.writer.write(b"".join(len(p).to_bytes(4, "big") + p for p in [encode("/lcm/seed", [1])] * 20_000))
                udp.send("/lcm/steps", 5)
                await one.becomes("steps", 5)
                assert one.count("osc/packets") < 20_000
                await one.until(lambda: one.count("osc/packets") == 20_001)
    asyncio.run(scenario())


def test_the_log_names_the_ports(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one:
            assert f"OSC: listening on 127.0.0.1: UDP {one.osc.port}, TCP {one.osc.tcp_port}" in caplog.text
        caplog.clear()
        async with rig() as one:
            assert caplog.messages == [f"OSC: listening on 127.0.0.1: UDP {one.osc.port}"]
    caplog.set_level("INFO")
    asyncio.run(scenario())


def test_stopping_ends_the_connections() -> None:
    async def scenario() -> None:
        async with rig(tcp=0) as one:
            async with connection(one.osc.tcp_port) as peer:
                peer.send("/lcm/seed", 3)
                await one.becomes("seed", 3)
                await one.osc.stop()
                assert await peer.ended()
            assert one.osc.tcp_port == 0
    asyncio.run(scenario())


# Independent peers

def test_oscsend_over_tcp() -> None:
    async def scenario() -> None:
        need(shutil.which("oscsend") is not None, "oscsend (liblo-tools) is not installed")
        async with rig(tcp=0) as one:
            target = f"osc.tcp://127.0.0.1:{one.osc.tcp_port}"
            sent = await asyncio.create_subprocess_exec(
                "oscsend", target, "/lcm/prompt", "s", "lava, glowing red", stdout=subprocess.DEVNULL)
            assert await sent.wait() == 0
            await one.becomes("prompt", "lava, glowing red")
    asyncio.run(scenario())


def test_liblo_over_tcp() -> None:
    liblo3 = need_module("pyliblo3")

    async def scenario() -> None:
        async with rig(tcp=0) as one:
            target = liblo3.Address("127.0.0.1", one.osc.tcp_port, liblo3.TCP)
            liblo3.send(target, liblo3.Message("/lcm/steps", 5.0))
            await one.becomes("steps", 5)
            messages = liblo3.Message("/lcm/seed", 7), liblo3.Message("/lcm/mix", ("d", 0.5))
            liblo3.send(target, liblo3.Bundle(*messages))
            await one.becomes("mix", 0.5)
            assert one.controls.values["seed"] == 7
    asyncio.run(scenario())
