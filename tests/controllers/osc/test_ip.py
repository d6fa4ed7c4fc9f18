"""Addresses of peers, and sockets for every kind of host."""

from __future__ import annotations

import socket

import pytest

from lcm_daemon.controllers.osc import ip
from lcm_daemon.controllers.osc.udp import Address, UdpSocket
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.metrics import Metrics


@pytest.mark.parametrize(("peer", "host"), [
    (("192.168.1.7", 9000), "192.168.1.7"),
    (("::1", 9000, 0, 0), "::1"),
    (("::ffff:192.168.1.7", 9000, 0, 0), "192.168.1.7"),
    (("fe80::1", 9000, 0, 2), "fe80::1%2"),
    (("fe80::1%eth0", 9000, 0, 2), "fe80::1%eth0"),
    (("fd00::2", 9000, 0, 0), "fd00::2"),
])
def test_the_host_of_a_peer(peer: tuple[object, ...], host: str) -> None:
    assert ip.host_of(peer) == host


@pytest.mark.parametrize("address", [
    Address("127.0.0.1", 9), Address("::1", 9), Address("fe80::1%2", 9), Address("::1", 9, tcp=True),
])
def test_an_address_is_read_as_it_is_written(address: Address) -> None:
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(("host", "reached_by"), [
    ("127.0.0.1", ["127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"]), ("::1", ["::1"]), ("::", ["::1", "127.0.0.1"]),
])
def test_a_socket_hears_and_answers(host: str, reached_by: list[str]) -> None:
    one = UdpSocket(host, 0, Metrics())
    for target in reached_by:
        with socket.socket(ip.family_of(target), socket.SOCK_DGRAM) as peer:
            peer.settimeout(5)
            peer.sendto(b"question", (target, one.port))
            one._socket.setblocking(True)
            _, source = one._socket.recvfrom(99)
            assert ip.host_of(source) == target
            one.send(b"answer", Address(target, peer.getsockname()[1]))
            assert peer.recv(99) == b"answer"
    one.close()


def test_a_group_is_joined_by_several_programs() -> None:
    one = UdpSocket("239.83.77.2", 0, Metrics())
    other = UdpSocket("239.83.77.2", one.port, Metrics())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        peer.sendto(b"all", ("239.83.77.2", one.port))
        for member in (one, other):
            member._socket.settimeout(5)
            assert member._socket.recv(99) == b"all"
    one.close()
    other.close()


def test_a_group_that_no_network_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.net_if_addrs", dict)
    with pytest.raises(LcmDaemonError, match=r"no network of this machine has multicast for 239\.83\.77\.3"):
        UdpSocket("239.83.77.3", 0, Metrics())
