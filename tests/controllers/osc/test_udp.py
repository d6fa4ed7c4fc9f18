"""The UDP socket: the receive buffer that the system grants, and the texts of bind errors."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys

import pytest

from lcm_daemon.controllers.osc import udp
from lcm_daemon.controllers.osc.udp import UdpSocket
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.core.metrics import Metrics


def test_the_receive_buffer_is_counted_while_it_is_held() -> None:
    metrics = Metrics()
    one = UdpSocket("127.0.0.1", 0, metrics)
    assert metrics.counts() == {"osc/receive_buffer": one.buffer}
    assert 0 < one.buffer <= udp.RECEIVE_BUFFER * 2
    one.close()
    one.close()
    assert metrics.counts() == {"osc/receive_buffer": 0}


def test_the_doctor_reports_the_granted_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert udp.check_receive_buffer().startswith("receive buffer ")
    monkeypatch.setattr(udp, "RECEIVE_BUFFER", 1 << 30)
    assert "net.core.rmem_max" in udp.check_receive_buffer()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(LcmDaemonError, match=r"^OSC: UDP port 9000 on 192.0.2.1 is not an address of this machine"):
        UdpSocket("192.0.2.1", 9000, Metrics())


@pytest.mark.parametrize(("port", "words"), [
    (9000, "OSC: UDP port 9000 on 127.0.0.1 is in use by another program or reserved by Windows; set "
           "another osc.port in the show"),
    (80, "OSC: UDP port 80 on 127.0.0.1 needs more privileges; set an osc.port above 1023 in the show"),
])
def test_a_port_that_the_system_denies(port: int, words: str) -> None:
    assert str(udp.bind_error("UDP", "127.0.0.1", port, OSError(errno.EACCES, "forbidden"))) == words


@pytest.mark.skipif(sys.platform != "linux", reason="senders have sockets of their own on Linux")
def test_what_waits_of_a_sender_with_a_socket_of_its_own_is_read_by_the_next_process() -> None:
    async def scenario() -> None:
        held, received = HeldSockets(), list[bytes]()
        one = UdpSocket("127.0.0.1", 0, Metrics(), held)
        one.start(lambda packet, source: None)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect(("127.0.0.1", one.port))
            assert one._senders is not None
            one._senders._separate(peer.getsockname())
            await one.stop()  # as if it were killed: its copies stay
            peer.send(b"sent in between")
            again = HeldSockets(held.new)
            other = UdpSocket("127.0.0.1", 0, Metrics(), again)
            other.start(lambda packet, source: received.append(packet))
            while not received:
                await asyncio.sleep(0.005)
            await other.stop()
        assert received == [b"sent in between"]
        assert len(again.taken) == 2
        again.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))
