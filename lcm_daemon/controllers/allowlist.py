"""The hosts that may use a controller, and the show's keys for hosts and networks."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Custom, Text

CACHED_HOSTS = 256


def is_loopback(host: str) -> bool:
    """Whether a host is this machine only."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


class Allowlist:
    """Checks hosts against lists of networks. A host must be in every list; an empty list allows every host.

    Args:
        lists: Addresses and networks as text, as `networks_of` reads them.
    """

    def __init__(self, *lists: Sequence[str]) -> None:
        self._lists = [[network for text in texts for network in networks_of(text)] for texts in lists if texts]
        self.allows = functools.lru_cache(CACHED_HOSTS)(self._allows)

    def _allows(self, host: str) -> bool:
        """Whether a host may connect. host: an IPv4 or IPv6 address as text, as sockets give it."""
        if not self._lists:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])  # without the zone of a link-local address
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # how a socket for both families names an IPv4 host
        return all(any(address in network for network in networks) for networks in self._lists)


def networks_of(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Parse "192.168.1.20" (one host), "192.168.1.0/24", "fd00::/8" or "localhost".

    Raises:
        ValueError: The text is nothing of these.
    """
    texts = ("127.0.0.1", "::1") if text == "localhost" else (text,)
    return [ipaddress.ip_network(each) for each in texts]


def _read_listen_host(node: Node, problems: Problems) -> str | None:
    text = Text().read(node, problems)
    if text is None:
        return None
    try:
        return str(ipaddress.ip_address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        problems.add(node, f"{text!r:.80} is not {LISTEN_HOST.describe()}")
        return None


def _read_host(node: Node, problems: Problems) -> str | None:
    host = _read_listen_host(node, problems)
    if host is not None and ipaddress.ip_address(host).is_multicast:
        problems.add(node, f"{host} is a multicast group, and not {HOST.describe()}")
        return None
    return host


def _read_network(node: Node, problems: Problems) -> str | None:
    text: str | None = Text().read(node, problems)
    if text is None:
        return None
    try:
        networks_of(text)
    except ValueError as error:
        bits = "host bits" in str(error)  # as in 192.168.1.20/24
        hint = f"; the network is {ipaddress.ip_network(text, strict=False)}" if bits else ""
        problems.add(node, f"{text!r:.80} is not {NETWORK.describe()}{hint}")
        return None
    return text


HOST = Custom(_read_host, "an IP address such as 127.0.0.1 (this machine only), 0.0.0.0 or :: (every network)")
LISTEN_HOST = Custom(_read_listen_host, f"{HOST.describe()}, or a multicast group such as 239.0.0.7")
NETWORK = Custom(_read_network, "an address such as 192.168.1.20, or a network such as 192.168.1.0/24")
