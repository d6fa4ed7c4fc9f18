"""SenderSockets: a sender that floods fills a buffer of its own, and nothing of anybody is lost by that."""

from __future__ import annotations

import asyncio
import functools
import socket
import sys

import pytest

from lcm_daemon.controllers.osc import sender_sockets, udp
from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.rigs.osc_peers import Peer, rig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have one buffer for all senders")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_flood_gets_a_socket_of_its_own_and_loses_it_when_it_is_quiet(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "TURN_DATAGRAMS", 8)
    monkeypatch.setattr(sender_sockets, "QUIET_SECONDS", 0.2)

    async def scenario() -> None:
        async with rig(host=host) as one:
            with Peer(one.osc.port) as flood, Peer(one.osc.port) as other:
                for number in range(1, 201):
                    flood.send("/lcm/seed", number)
                senders = one.osc._sockets[0]._senders
                assert senders is not None
                await one.until(lambda: len(senders) == 1)
                for number in range(201, 401):
                    flood.send("/lcm/seed", number)
                other.send("/lcm/steps", 3)
                await one.becomes("seed", 400)
                await one.becomes("steps", 3)
                assert one.count("osc/packets") == 401
                await one.until(lambda: not len(senders))
                flood.send("/lcm/seed", 5)
                await one.becomes("seed", 5)
    asyncio.run(scenario())


def test_a_sender_that_floods_no_more_keeps_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are only a few of them."""
    monkeypatch.setattr(udp, "TURN_DATAGRAMS", 8)
    monkeypatch.setattr(sender_sockets, "QUIET_SECONDS", 0.2)

    async def scenario() -> None:
        async with rig() as one:
            senders = one.osc._sockets[0]._senders
            assert senders is not None
            with Peer(one.osc.port) as flood:
                for _ in range(200):
                    flood.send("/lcm/seed", 1)
                await one.until(lambda: len(senders) == 1)

                def has_ended() -> bool:
                    flood.send("/lcm/seed", 2)
                    return not len(senders)
                await one.until(has_ended)
    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_several_floods_get_a_socket_each(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "TURN_DATAGRAMS", 8)

    async def scenario() -> None:
        async with rig(host=host) as one:
            senders = one.osc._sockets[0]._senders
            assert senders is not None

            def has(number: int) -> bool:
                return len(senders) == number
            with Peer(one.osc.port) as first, Peer(one.osc.port) as second, Peer(one.osc.port) as third:
                for number, flood in enumerate((first, second, third), 1):
                    for _ in range(200):
                        flood.send("/lcm/seed", number)
                    await one.until(functools.partial(has, number))
    asyncio.run(scenario())


def test_no_other_program_can_bind_the_port_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "TURN_DATAGRAMS", 4)

    async def scenario() -> None:
        async with rig() as one:
            with Peer(one.osc.port) as flood:
                for _ in range(200):
                    flood.send_packet(encode("/lcm/seed", [1]))
                senders = one.osc._sockets[0]._senders
                assert senders is not None
                await one.until(lambda: len(senders) == 1)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
                    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    with pytest.raises(OSError, match="in use"):
                        thief.bind(("127.0.0.1", one.osc.port))
    asyncio.run(scenario())
