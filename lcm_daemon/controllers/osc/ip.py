"""IP addresses of peers, and sockets for IPv4, IPv6 and multicast groups."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

ANY = ("0.0.0.0", "::")  # hosts that stand for every network of this machine
CACHED_PEERS = 256

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(text: str) -> IpAddress:
    """Parse an address. An IPv4 address in IPv6 form (::ffff:192.168.1.7) becomes the IPv4 address.

    Raises:
        ValueError: It is not an IP address.
    """
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


@functools.lru_cache(CACHED_PEERS)
def host_of(peer: tuple[Any, ...]) -> str:
    """Host of an address as the socket module returns it: without a mapped IPv4 address, with the zone of link-local
    ones (fe80::1%2)."""
    address = parse_ip(peer[0])
    has_zone = len(peer) > 3 and peer[3] and address.is_link_local and "%" not in peer[0]
    return f"{address}%{peer[3]}" if has_zone else str(address)


def family_of(host: str) -> socket.AddressFamily:
    """The address family of a host."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def bind(sock: socket.socket, host: str, port: int) -> None:
    """Bind a UDP socket of the family of `host`. "::" also receives IPv4; a multicast group is joined on every network.

    Raises:
        OSError: The port or the host is not available.
    """
    address = ipaddress.ip_address(host)
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # without it, Windows lets another program share the port
    if address.version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.is_unspecified else 1)
    if address.is_multicast:
        _bind_group(sock, address, port)
        return
    if exclusive is not None:
        sock.setsockopt(socket.SOL_SOCKET, exclusive, 1)
    sock.bind(_numeric(host, port))


def _numeric(host: str, port: int) -> tuple[Any, ...]:
    """The address as the socket module takes it, with the number of the zone."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4]


def destination(host: str, family: int) -> str:
    """The host as a socket of this family sends to it."""
    return f"::ffff:{host}" if family == socket.AF_INET6 and ":" not in host else host


def _bind_group(sock: socket.socket, group: IpAddress, port: int) -> None:
    """Bind to a group's address, so that nothing else is received, where the system can do that."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # several programs of a machine may listen to a group
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    zone = getattr(group, "scope_id", None)
    can_bind = sys.platform != "win32" and (group.version == 4 or bool(zone))
    sock.bind(_numeric(str(group), port) if can_bind else ("", port))
    joined = 0
    for level, option, membership in _memberships(group, zone):
        with contextlib.suppress(OSError):  # a card that is down, or without multicast
            sock.setsockopt(level, option, membership)
            joined += 1
    if not joined:
        raise OSError(f"cannot be joined: no network of this machine has multicast for {group}")


def _memberships(group: IpAddress, zone: str | None) -> Iterator[tuple[int, int, bytes]]:
    """One socket option for each network of this machine, or for that of the zone."""
    import psutil  # a small command must not load it

    if isinstance(group, ipaddress.IPv4Address):
        for card in psutil.net_if_addrs().values():
            for each in card:
                if each.family == socket.AF_INET:
                    yield (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                           group.packed + ipaddress.IPv4Address(each.address).packed)
        return
    for number, name in socket.if_nameindex():
        if zone in (None, "", name, str(number)):
            yield socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("@I", number)
